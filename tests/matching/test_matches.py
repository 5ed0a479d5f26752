"""The data type, its checks, its files, and the score."""

import sqlite3
import sys

import numpy as np
import pytest
from scipy import sparse

from asterism.app.cli import main
from asterism.errors import AsterismError, BadMatches, MissingExtra, RequestError
from asterism.io.matches import read_matches, read_tracks, write_npz, write_tracks
from asterism.matches import Matches, Tracks
from asterism.metrics.matching import pair_score
from asterism.ops.assignment import assign, one_to_one, votes


@pytest.fixture
def named(make):
    """Matches with everything known."""
    matches, truth = make(m=4, k=6, missing=0.2, flat=True)
    names = [f"day/{i}.jpg" for i in range(4)]
    return Matches.of(matches.w, matches.counts, matches.xy, names, [(100, 120)] * 4), truth


def tracks_of(matches, truth):
    return Tracks(labels=truth, confidence=np.ones(len(truth)), counts=matches.counts)


def test_one_side_is_mirrored_and_matches_inside_an_image_are_dropped():
    w = sparse.csr_array(np.array([[0, 1, 2.0], [0, 0, 0], [0, 0, 0]]))
    matches = Matches.of(w, [2, 1])
    assert matches.w.toarray().tolist() == [[0, 0, 2], [0, 0, 0], [2, 0, 0]]
    assert matches.pairs().tolist() == [[0, 1]] and matches.image.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"counts": [2, 2]}, "shape"),
        ({"counts": [4, -1]}, "counts"),
        ({"counts": []}, "counts"),
        ({"xy": np.zeros((2, 2))}, "xy"),
        ({"xy": np.full((3, 2), np.nan)}, "xy"),
        ({"names": ["a"]}, "names"),
        ({"w": sparse.csr_array(-np.ones((3, 3)))}, "data"),
    ],
)
def test_what_does_not_fit_is_named(change, said):
    with pytest.raises(BadMatches, match=f"here.*{said}"):
        Matches.of(**{"w": sparse.csr_array((3, 3)), "counts": [2, 1], "where": "here", **change})


def test_tracks_that_are_not_consistent_cannot_be_made():
    with pytest.raises(ValueError, match="image 1"):
        Tracks(labels=np.array([0, 3, 3]), confidence=np.zeros(3), counts=np.array([1, 2]))


def test_the_score_by_hand():
    score = pair_score(np.array([0, 0, 0, 1, -1]), np.array([5, 5, 7, 7, 7]))
    assert (score.recall, score.precision) == (1 / 4, 1 / 3)


def test_assignment_is_one_to_one_and_optimal():
    scores = np.array([[3.0, 2.9], [2.0, 0.0], [0.0, 0.0]])
    assert assign(scores, np.array([0, 3])).tolist() == [1, 0, -1]
    assert assign(scores, np.array([0, 1, 2, 3])).tolist() == [0, 0, -1]


def test_votes_are_a_product():
    dice = np.random.default_rng(0)
    w = sparse.random_array((9, 9), density=0.5, rng=dice, dtype=np.float32, format="csr")
    labels = dice.integers(-1, 4, 9)
    one_hot = (labels[:, None] == np.arange(4)).astype(float)
    assert np.allclose(votes(w, labels, 4), w @ one_hot, atol=1e-6)


def test_one_to_one_keeps_the_best_of_a_block():
    w = np.zeros((4, 4))
    w[:2, 2:] = [[3, 2.5], [2, 0]]
    kept = one_to_one(Matches.of(sparse.csr_array(w), [2, 2]).w, np.array([0, 2, 4])).toarray()
    assert kept[:2, 2:].tolist() == [[0, 2.5], [2, 0]] and (kept == kept.T).all()


def test_npz_round_trip(named, tmp_path):
    matches, truth = named
    write_npz(tmp_path / "m.npz", matches)
    back = read_matches(tmp_path / "m.npz")
    assert (back.w != matches.w).nnz == 0 and (back.xy == matches.xy).all()
    assert (back.names, back.sizes) == (matches.names, matches.sizes)
    write_tracks(tmp_path / "t.npz", tracks_of(matches, truth), matches)
    assert (read_tracks(tmp_path / "t.npz").labels == truth).all()


@pytest.mark.parametrize("suffix", [".h5", ".db"])
def test_other_tools_read_what_we_write(named, suffix, tmp_path):
    """Perfect matches of all pairs come back as they were; the COLMAP file holds corners, we hold centres."""
    matches, truth = named
    if suffix == ".h5":
        pytest.importorskip("h5py")
    path = tmp_path / f"m{suffix}"
    write_tracks(path, tracks_of(matches, truth), matches)
    back = read_matches(path)
    if suffix == ".db":
        assert (back.w != (matches.w > 0)).nnz == 0
        assert np.allclose(back.xy, matches.xy, atol=1e-4) and back.sizes == matches.sizes
        with sqlite3.connect(path) as base:
            data = base.execute("SELECT data FROM keypoints WHERE image_id = 1").fetchone()[0]
        base.close()
        assert np.allclose(np.frombuffer(data, "<f4").reshape(-1, 2), matches.xy[: matches.counts[0]] + 0.5)
        again = tmp_path / "again.db"
        write_tracks(again, tracks_of(matches, truth), matches, source=path)
        assert (read_matches(again).w != back.w).nnz == 0
    else:
        assert back.w.nnz == matches.w.nnz and set(back.names) == {n.replace("/", "-") for n in matches.names}


def test_hloc_with_keypoints(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a.jpg/b.jpg/matches0"] = np.array([1, -1, 0], np.int16)
        file["a.jpg/b.jpg/matching_scores0"] = np.array([0.5, 0, 1], np.float16)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for name, n in (("a.jpg", 3), ("b.jpg", 4)):
            file[f"{name}/keypoints"] = np.arange(2.0 * n).reshape(n, 2)
            file[f"{name}/image_size"] = np.array([64, 48])
    assert read_matches(tmp_path / "m.h5").counts.tolist() == [3, 2]
    matches = read_matches(tmp_path / "m.h5", tmp_path / "f.h5")
    assert matches.counts.tolist() == [3, 4] and matches.sizes[0] == (48, 64)
    assert matches.w[0, 4] == 0.5 and matches.w[2, 3] == 1 and matches.xy[1].tolist() == [2, 3]


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "m.h5").write_bytes(b"")
    with pytest.raises(MissingExtra, match="h5py"):
        read_matches(tmp_path / "m.h5")


@pytest.mark.parametrize("name", ["m.npz", "m.h5", "m.db"])
def test_a_damaged_file_is_named(name, tmp_path):
    if name == "m.h5":
        pytest.importorskip("h5py")
    (tmp_path / name).write_bytes(b"not what it says")
    with pytest.raises(BadMatches, match=name):
        read_matches(tmp_path / name)


def test_a_missing_field_an_unknown_kind_and_no_file(tmp_path):
    np.savez(tmp_path / "m.npz", data=np.zeros(1))
    with pytest.raises(BadMatches, match="lacks indices, indptr, shape, counts"):
        read_matches(tmp_path / "m.npz")
    (tmp_path / "m.txt").write_text("")
    with pytest.raises(RequestError, match="COLMAP"):
        read_matches(tmp_path / "m.txt")
    with pytest.raises(RequestError, match="no such file"):
        read_matches(tmp_path / "none.npz")


def test_what_a_file_cannot_hold_is_refused(make, tmp_path):
    matches, truth = make(m=3, k=4)
    pytest.importorskip("h5py")
    for name in ("t.h5", "t.db"):
        with pytest.raises(AsterismError, match="names"):
            write_tracks(tmp_path / name, tracks_of(matches, truth), matches)
    assert list(tmp_path.iterdir()) == []


def test_the_verb(make, tmp_path, capsys):
    matches, truth = make(m=5, k=7)
    write_npz(tmp_path / "m.npz", matches)
    assert main(["sync", str(tmp_path / "m.npz"), "-o", str(tmp_path / "tracks"), "--json"]) == 0
    assert '"universe": 7' in capsys.readouterr().out
    assert pair_score(read_tracks(tmp_path / "tracks.npz").labels, truth).recall == 1
    line = ["sync", str(tmp_path / "m.npz"), "-o", str(tmp_path / "tracks")]
    for more, said in (["--method", "hrnet"], "hrnet"), (["--universe", "0"], "--universe"):
        assert main([*line, *more]) == 2
        assert said in capsys.readouterr().err
    assert main(["info", "auto", "--json"]) == 0
