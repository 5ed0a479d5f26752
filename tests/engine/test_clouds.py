"""What a method of clouds is shown: every point, or a selection that is spread evenly."""

import numpy as np
import pytest

from asterism.engine.clouds import is_of_clouds, look, thinned, watcher
from asterism.errors import BadCloud, RequestError
from asterism.io.points import Cloud


def test_thinning_keeps_points_of_the_cloud_one_in_each_cell():
    dice = np.random.default_rng(0)
    points = dice.random((20_000, 3)) * (1, 1, 0)
    rows = thinned(points, 2000)
    assert 1800 <= len(rows) <= 2200 and len(np.unique(rows)) == len(rows)
    gap = np.linalg.norm(points[rows][:, None] - points[rows[::20]], axis=2)
    gap.sort(axis=0)
    assert np.median(gap[1]) > 0.5 / 2000**0.5  # at random it would be half as much
    np.testing.assert_array_equal(thinned(points[:100], 100), np.arange(100))
    np.testing.assert_array_equal(thinned(np.ones((50, 3)), 10), np.arange(50))


def test_names_of_methods_and_other_words(tmp_path):
    assert is_of_clouds("iss") and is_of_clouds("keypoint-deformer")
    assert not is_of_clouds("hrnet") and not is_of_clouds("auto") and not is_of_clouds(str(tmp_path))
    (tmp_path / "run.json").write_text('{"method": "keypoint-deformer"}')
    assert is_of_clouds(str(tmp_path))
    (tmp_path / "run.json").write_text("damaged")
    assert not is_of_clouds(str(tmp_path))
    with pytest.raises(RequestError, match="has to learn first"):
        watcher("keypoint-deformer", None)


def test_a_mesh_is_seen_as_its_surface_and_points_of_one_place_are_refused():
    corners = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]], dtype=float)
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]])
    seen, found = look(watcher("fps", 4), "tip.obj", Cloud(points=corners, faces=faces))
    assert len(seen) == 20_000 and len(found.xyz) == 4
    gap = np.linalg.norm(found.xyz[:, None] - corners, axis=2)
    assert np.sort(gap.argmin(1)).tolist() == [0, 1, 2, 3] and gap.min(1).max() < 0.5
    with pytest.raises(BadCloud, match=r"dot\.ply"):
        look(watcher("iss", None), "dot.ply", Cloud(points=np.ones((40, 3))))
