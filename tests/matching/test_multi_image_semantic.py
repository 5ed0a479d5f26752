"""Choosing k of many candidates: the truth without noise, in either form, whatever the order."""

from dataclasses import replace

import numpy as np
import pytest

from asterism.methods.matching.multi_image_semantic import PAPER, RELEASED_CODE, MultiImageSemantic

FORMS = {"paper": PAPER, "released code": RELEASED_CODE}


def with_strangers(make, k=6, strangers=5, m=8, seed=0):
    """Matches of m images that all show k points, and strangers beside them that match anything."""
    matches, truth = make(m=m, k=k + strangers, seed=seed, flat=True)
    dice = np.random.default_rng(seed)
    rows, columns = np.triu(matches.w.toarray()).nonzero()
    real = truth[rows] < k
    image = matches.image
    dense = np.zeros(matches.w.shape, np.float32)
    dense[rows[real], columns[real]] = 1
    for a, b in {(image[r], image[c]) for r, c in zip(rows, columns)}:
        one, two = (np.flatnonzero((image == i) & (truth >= k)) for i in (a, b))
        dense[one, dice.permutation(two)] = 1
    xy = np.where((truth >= k)[:, None], dice.random((len(truth), 2)) * 100, matches.xy)
    return replace(matches.with_w(dense + dense.T), xy=xy), np.where(truth < k, truth, -1)


def partition(labels):
    return {frozenset(np.flatnonzero(labels == u)) for u in np.unique(labels[labels >= 0])}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_points_that_all_images_share_are_chosen(form, seed, make):
    matches, truth = with_strangers(make, seed=seed)
    labels = MultiImageSemantic(FORMS[form]).predict(matches, 6).labels
    assert partition(labels) == partition(truth)


def test_every_image_has_every_label_in_the_papers_form(make):
    matches, _ = make(m=6, k=8, wrong=0.4, seed=2, flat=True)
    labels = MultiImageSemantic(PAPER).predict(matches, 5).labels.reshape(6, 8)
    assert (np.sort(labels, axis=1)[:, 3:] == np.arange(5)).all()


def test_features_in_another_order_get_the_same_labels(make, shuffle):
    matches, truth = with_strangers(make)
    other, _, source = shuffle(matches, truth)
    one = MultiImageSemantic(PAPER).predict(matches, 6).labels
    two = MultiImageSemantic(PAPER).predict(other, 6).labels
    assert partition(two) == {
        frozenset(np.flatnonzero(np.isin(source, list(part)))) for part in partition(one)
    }


def test_geometry_decides_between_candidates_that_match_alike(make):
    """Two candidates of one image were taken for each other, and Y cannot tell them apart.

    Flat things have rank 2; the two ranks more of the paper would hold the wrong image as it is.
    """
    for seed in range(6):
        matches, truth = make(m=8, k=12, flat=True, seed=seed)
        wrong = truth.copy()
        last = np.flatnonzero((matches.image == 7) & (truth >= 10))
        wrong[last] = truth[last[::-1]]
        y = np.eye(12)[truth]
        y[last] = (y[last] + y[last[::-1]]) / 2
        for form in FORMS.values():
            with_ = MultiImageSemantic(replace(form, rank=2))._chosen(matches, y, wrong, 1.0)
            without = MultiImageSemantic(replace(form, lam=0.0))._chosen(
                matches, y - 0.01 * np.eye(12)[truth], wrong, 1.0
            )
            assert (with_ == truth).all(), seed
            assert (without == wrong).all(), seed
