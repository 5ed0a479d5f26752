"""What every solver of matches keeps."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from asterism import catalogue
from asterism.errors import RequestError
from asterism.matches import Matches, repeated
from asterism.metrics.matching import pair_score

NAMES = [name for name, row in catalogue.entries().items() if row.takes == "Matches"]


@pytest.fixture(params=NAMES)
def solver(request):
    return catalogue.synchroniser(request.param)()


def perfect(tracks, truth):
    score = pair_score(tracks.labels, truth)
    return score.recall == 1 and score.precision == 1


def test_the_file_says_what_it_is(solver):
    said = ast.get_docstring(ast.parse(Path(inspect.getfile(type(solver))).read_text())) or ""
    assert said.startswith(f"{solver.name}: ") and solver.link in said
    assert "\nDeparts from the paper:\n- " in said and " -> " in said
    assert catalogue.entry(solver.name).family == solver.family == "matching"


def test_without_noise_the_truth_is_recovered(solver, make):
    matches, truth = make()
    assert perfect(solver.predict(matches, 12), truth)


def test_the_number_of_labels_is_found(solver, make):
    matches, truth = make()
    tracks = solver.predict(matches)
    assert tracks.universe == 12 and perfect(tracks, truth)
    assert (tracks.confidence == 1).all()


def test_partial_images(solver, make):
    matches, truth = make(m=12, missing=0.3, seed=3)
    score = pair_score(solver.predict(matches, 12).labels, truth)
    assert score.recall > 0.95 and score.precision > 0.97


def test_noise_is_survived(solver, make):
    matches, truth = make(m=12, wrong=0.3, seed=4)
    assert pair_score(solver.predict(matches, 12).labels, truth).recall > 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_always_consistent_even_of_nonsense(solver, seed):
    dice = np.random.default_rng(seed)
    counts = np.array([5, 0, 9, 1, 7, 3])
    w = sparse.random_array((25, 25), density=0.3, rng=dice, dtype=np.float32)
    tracks = solver.predict(Matches.of(w, counts, dice.random((25, 2))))
    assert not repeated(tracks.labels, counts).any()
    assert ((tracks.confidence >= 0) & (tracks.confidence <= 1)).all()


def test_the_order_of_images_and_features_does_not_matter(solver, make, shuffle):
    matches, truth = make(m=9, missing=0.1, wrong=0.1, seed=5)
    other, moved, source = shuffle(matches, truth)
    one, two = solver.predict(matches, 12), solver.predict(other, 12)
    assert pair_score(one.labels[source], two.labels).recall > 0.97
    assert pair_score(two.labels, moved).recall == pytest.approx(
        pair_score(one.labels, truth).recall, abs=0.03
    )


def test_the_same_twice(solver, make):
    matches, _ = make(wrong=0.5, missing=0.2)
    assert (solver.predict(matches, 12).labels == solver.predict(matches, 12).labels).all()


def test_empty_images_and_features_without_matches(solver, make):
    matches, truth = make(m=6, k=5)
    n = len(truth)
    counts = np.concatenate([[0], matches.counts, [0, 3]])
    w = sparse.csr_array(sparse.block_diag([matches.w, sparse.csr_array((3, 3))]))
    tracks = solver.predict(Matches.of(w, counts), 5)
    assert perfect_part(tracks.labels[:n], truth)
    assert (tracks.labels[n:] == -1).all() and (tracks.confidence[n:] == 0).all()


def perfect_part(labels, truth):
    score = pair_score(labels, truth)
    return score.recall == 1 and score.precision == 1


def test_nothing_at_all(solver):
    for counts in ([], [0, 0], [3, 2]):
        n = sum(counts)
        tracks = solver.predict(Matches.of(sparse.csr_array((n, n)), np.array(counts, dtype=int)))
        assert (tracks.labels == -1).all() and tracks.universe == 0


def test_a_universe_of_nothing_is_refused(solver, make):
    with pytest.raises(RequestError, match="universe 0"):
        solver.predict(make()[0], 0)
