"""Skeletons by hand and the published ones; each way of getting a file wrong has its own message."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.errors import BadAnnotation
from asterism.io.skeleton import (
    Skeleton,
    find_skeleton,
    known_sigma,
    published,
    read_skeleton,
    skeleton_names,
    with_skeleton,
    write_skeleton,
)
from asterism.io.table import KeypointTable
from asterism.metrics import oks, pckh
from asterism.types import Skeleton as TypedSkeleton

MOUSE = """\
names = ["nose", "left_ear", "right_ear", "tail"]
edges = [["nose", "left_ear"], ["nose", "right_ear"], ["nose", "tail"]]
swaps = [["left_ear", "right_ear"]]
sigmas = [0.026, 0.035, 0.035, 0.107]
"""


def table(names: tuple[str, ...]) -> KeypointTable:
    k, one = len(names), np.ones((1, len(names)), bool)
    return KeypointTable(
        names=names,
        images=("a.png",),
        image=np.zeros(1, np.int64),
        individual=np.zeros(1, np.int64),
        xy=np.arange(2.0 * k).reshape(1, k, 2),
        labelled=one,
        visible=one,
        score=one.astype(float),
        box=np.zeros((1, 4)),
        has_box=np.zeros(1, bool),
        area=np.zeros(1),
        source="labels.json",
    )


def test_a_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mouse.toml"
    path.write_text(MOUSE)
    mouse = read_skeleton(path)
    assert mouse.names == ("nose", "left_ear", "right_ear", "tail") and mouse.swap == (0, 2, 1, 3)
    assert mouse.edges == ((0, 1), (0, 2), (0, 3)) and mouse.sigma == (0.026, 0.035, 0.035, 0.107)
    assert find_skeleton(str(path)) == mouse
    path.write_text('names = ["left_ear", "right_ear"]')
    assert read_skeleton(path) == Skeleton(names=("left_ear", "right_ear"), swap=(1, 0))
    path.write_text('names = ["left_ear", "right_ear"]\nswaps = []')
    assert read_skeleton(path).swap == (0, 1)  # said: nobody has a partner


NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(lambda name: bool(name.strip()))


@settings(max_examples=60, deadline=None)
@given(st.lists(NAME, unique=True, min_size=2, max_size=6), st.floats(1e-9, 1e3), st.booleans())
def test_round_trip(names: list[str], sigma: float, with_sigma: bool) -> None:
    k = len(names)
    made = Skeleton(
        names=tuple(names),
        edges=((0, 1), (k - 1, 0))[: k - 1],
        swap=(1, 0, *range(2, k)),
        sigma=(sigma,) * k if with_sigma else (),
    )
    with TemporaryDirectory() as folder:
        write_skeleton(Path(folder) / "x.toml", made)
        assert read_skeleton(Path(folder) / "x.toml") == made


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("names =", "name =", r"'name' is no key of a skeleton; it has names, edges, swaps, sigmas"),
        (MOUSE, "", r"names: is missing; wanted a list such as"),
        ('["nose", "left_ear", "right_ear", "tail"]', "[]", r"names: wanted a list of one name or more"),
        ('"tail"]\n', "4]\n", r"names\[3\]: wanted a name in quotes, found 4"),
        ('"tail"]\n', '"nose"]\n', r"names: \['nose'\] occur twice"),
        ('["nose", "tail"]]', '["nose", "tial"]]', r"edges\[2\]: 'tial' is none of the names$"),
        ('["nose", "tail"]]', "[0, 3]]", r"edges\[2\]: 0 is none of the names \(names, not numbers\)"),
        ('["nose", "tail"]]', '["nose"]]', r"edges\[2\]: wanted two names"),
        ('["nose", "tail"]]', '["nose", "nose"]]', r"edges\[2\]: joins 'nose' with itself"),
        ('["nose", "tail"]]', '["left_ear", "nose"]]', r"edges\[2\]: .* is there already"),
        ('[["left_ear", "right_ear"]]', '"both"', r"swaps: wanted a list of pairs of names"),
        ('"right_ear"]]', '"right_ear"], ["tail", "left_ear"]]', r"swaps\[1\]: 'left_ear' already has"),
        ("0.026, ", "", r"sigmas: wanted 4 numbers, one per name, found 3 of them; leave the key out"),
        ("0.026", "-1", r"sigmas: 'nose' has -1, wanted a number above 0"),
        ("0.026", "nan", r"sigmas: 'nose' has nan"),
        ("names = [", "names = ", r"is no TOML: .*line 1"),
    ],
)
def test_each_way_to_be_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mouse.toml"
    assert old in MOUSE
    path.write_text(MOUSE.replace(old, new, 1))
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_skeleton(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadAnnotation, match=r"does not exist; published skeletons: 300w-68"):
        find_skeleton(str(tmp_path / "none.toml"))
    with pytest.raises(BadAnnotation, match=r"'coco' is neither a file that ends in \.toml nor .*coco-17"):
        find_skeleton("coco")
    with pytest.raises(BadAnnotation, match=r"skeleton 'coco' is not known"):
        published("coco")


def test_published_ones_are_whole_and_agree_with_the_metrics() -> None:
    """`types.Skeleton` checks indices and permutations; the number in a name is that of its points."""
    wanted = {"coco-17", "coco-foot-23", "coco-wholebody-133", "mpii-16", "crowdpose-14", "halpe-26"}
    wanted |= {"ap10k-17", "hand-21", "300w-68", "wflw-98", "body-25", "coco-18", "mpi-15"}
    assert wanted <= set(skeleton_names())
    for name in skeleton_names():
        found = published(name)
        TypedSkeleton(names=found.names, edges=found.edges, swap=found.swap, sigma=found.sigma)
        assert len(found.names) == int(name.rpartition("-")[2]) and found.edges
        for a, b in enumerate(found.swap):  # a mirror takes bones to bones, except along a row of a face
            assert (a != b) or "left" not in found.names[a]
    coco = published("coco-17")
    assert coco.names == oks.COCO_NAMES and coco.sigma == oks.COCO_SIGMAS
    assert published("mpii-16").names == pckh.MPII_NAMES
    assert published("coco-wholebody-133").names[:23] == published("coco-foot-23").names
    for name in ("300w-68", "wflw-98", "body-25", "coco-18", "mpi-15", "h36m-17"):  # nobody published any
        assert published(name).sigma == ()


@pytest.mark.parametrize(
    "name", ["300w-68", "wflw-98", "coco-wholebody-133", "halpe-136", "body-25", "mpii-16"]
)
def test_a_mirror_takes_bones_to_bones(name: str) -> None:
    found = published(name)
    edges = {frozenset(edge) for edge in found.edges}
    assert {frozenset(found.swap[i] for i in edge) for edge in edges} == edges


def test_labels_get_a_skeleton() -> None:
    mouse = Skeleton(names=("nose", "l", "r"), edges=((0, 1),), swap=(0, 2, 1), sigma=(0.1, 0.2, 0.3))
    same = with_skeleton(table(("nose", "l", "r")), mouse)
    assert (same.edges, same.swap, same.sigma) == (mouse.edges, mouse.swap, mouse.sigma)
    other = with_skeleton(table(("r", "nose", "l")), mouse)  # another order
    assert other.edges == ((1, 2),) and other.swap == (2, 1, 0) and other.sigma == (0.3, 0.1, 0.2)
    assert np.array_equal(other.xy, table(("r", "nose", "l")).xy)
    assert with_skeleton(table(("point0", "point1", "point2")), mouse).names == mouse.names
    assert with_skeleton(same, replace(mouse, swap=(), sigma=())).sigma == ()
    with pytest.raises(
        BadAnnotation,
        match=r"labels.json: its 2 keypoints are not the 3 of m.toml \(only in the labels: x; only in",
    ):
        with_skeleton(table(("nose", "x")), mouse, "m.toml")


def test_known_sigmas() -> None:
    assert known_sigma(published("crowdpose-14").names)[:2] == (0.079, 0.079)
    assert known_sigma(("nose", "tail")) == known_sigma(published("body-25").names) == ()
