"""Points in space in files: exact round trips, TRC's columns, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from asterism.errors import BadAnnotation, RequestError
from asterism.io.motion import Motion, read_motion, write_motion


def motion():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 2, 3, 3))
    labelled = np.array([[True, True], [True, False], [False, True]])
    views = rng.random((3, 3, 2)) < 0.8
    views[0, :, :] = True
    return Motion(
        names=("nose", "tail"),
        frame=np.array([4, 5, 7]),
        individual=np.zeros(3, np.int64),
        xyz=rng.normal(size=(3, 2, 3)) * labelled[..., None],
        cov=root @ root.swapaxes(-1, -2) * labelled[..., None, None],
        labelled=labelled,
        error=rng.random((3, 2)) * labelled,
        views=views & labelled[:, None],
        cameras=("a", "b", "c"),
        unit="mm",
        rate=30.0,
    )


def same(a, b):
    assert (a.names, a.cameras, a.unit) == (b.names, b.cameras, b.unit)
    for name in ("frame", "individual", "xyz", "labelled", "error", "views"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_allclose(a.cov, b.cov, rtol=1e-14)  # the CSV holds its upper half


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    write_motion(tmp_path / f"m{suffix}", motion())
    same(read_motion(tmp_path / f"m{suffix}"), motion())


def test_trc_has_its_header_and_empty_cells(tmp_path):
    write_motion(tmp_path / "m.trc", motion())
    lines = (tmp_path / "m.trc").read_text().split("\n")
    assert lines[0] == "PathFileType\t4\t(X/Y/Z)\tm.trc"
    assert lines[2].split("\t") == ["30", "30", "3", "2", "mm", "30", "4", "3"]
    assert lines[3].split("\t")[:6] == ["Frame#", "Time", "nose", "", "", "tail"]
    assert lines[4].split("\t") == ["", "", "X1", "Y1", "Z1", "X2", "Y2", "Z2"]
    row = lines[7].split("\t")
    assert row[:2] == ["5", "0.033333"] and float(row[2]) == motion().xyz[1, 0, 0] and row[5:] == [""] * 3
    assert lines[8].split("\t")[1] == "0.100000"


def test_refusals(tmp_path):
    for change, path, told in (
        ({"unit": "unknown"}, "m.trc", "--unit mm"),
        ({"unit": "ells"}, "m.csv", "unit 'ells'"),
        ({}, "m.c3d", "are written to .csv, .trc, .npz"),
        ({"individual": np.array([0, 1, 1])}, "m.trc", "one individual"),
    ):
        with pytest.raises(RequestError, match=told):
            write_motion(tmp_path / path, replace(motion(), **change))
    (tmp_path / "m.csv").write_text("frame,individual,unit,nose_x,nose_y\n")
    with pytest.raises(BadAnnotation, match="header: "):
        read_motion(tmp_path / "m.csv")
