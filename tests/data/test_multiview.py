"""Several cameras as one set: order, names, and what does not fit together."""

import numpy as np
import pytest
from PIL import Image

from asterism.data.multiview import MultiView, camera_table, cameras_of, open_views, views_of
from asterism.data.worlds import Rig
from asterism.errors import RequestError
from asterism.io.cameras import write_cameras

WORLD = "world:rig?n=3&views=4&subjects=1&seed=2&size=64"


@pytest.fixture(scope="module")
def rig():
    return Rig(n=3, views=4, subjects=1, seed=2, size=(64, 64))


@pytest.fixture
def folders(rig, tmp_path):
    for index in range(len(rig)):
        path = tmp_path / f"{rig.name(index)}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rig.picture(index)).save(path)
    write_cameras(tmp_path / "rig.json", camera_table(views_of(rig)))
    return tmp_path


def test_pictures_come_camera_by_camera(rig):
    images = open_views([WORLD], None)
    assert isinstance(images, MultiView) and len(images) == 12 and images.moments == 3
    assert np.array_equal(images.picture(7), rig.picture(7)) and images.name(7) == rig.name(7)
    assert images.table is not None and np.array_equal(images.table.xy, rig.table.xy)
    assert len({images.scene(i) for i in range(12)}) == 4 and images.scenes_are_clips
    assert images.sizes().tolist() == [[64, 64]] * 4


def test_some_cameras_at_some_moments(rig):
    part = views_of(rig).only([3, 1], [0, 2])
    assert [part.name(i) for i in range(4)] == ["cam3/000000", "cam3/000002", "cam1/000000", "cam1/000002"]
    assert np.array_equal(part.cameras.intrinsics[1], rig.cameras.intrinsics[1])
    assert part.fingerprint() != views_of(rig).only([3, 1], [0, 1]).fingerprint()


def test_folders_and_a_camera_file(rig, folders):
    inputs = [str(folders / f"cam{v}") for v in range(4)]
    images = open_views(inputs, str(folders / "rig.json"))
    assert np.array_equal(images.picture(7), rig.picture(7)) and images.table is None
    assert np.array_equal(images.cameras.cam_from_world, rig.cameras.cam_from_world)
    assert [len(p) for p in (images, list(images))] == [12, 12]


def test_what_does_not_fit_is_named(folders):
    inputs, cameras = [str(folders / f"cam{v}") for v in range(4)], str(folders / "rig.json")
    with pytest.raises(RequestError, match=r"3 inputs, but .*rig.json has the cameras cam0, cam1"):
        open_views(inputs[:3], cameras)
    with pytest.raises(RequestError, match="three must agree"):
        open_views(inputs[:2], cameras)
    with pytest.raises(RequestError, match="--cameras: wanted the file"):
        open_views(inputs, None)
    with pytest.raises(RequestError, match="has cameras of its own"):
        open_views([WORLD], cameras)
    (folders / "cam2" / "000002.png").unlink()
    with pytest.raises(RequestError, match=r"different numbers of pictures \(cam0 3, cam1 3, cam2 2"):
        open_views(inputs, cameras)


def test_a_picture_of_another_size_than_its_camera_is_refused(rig, folders):
    table = camera_table(views_of(rig))
    sizes = (*table.sizes[:3], (48, 64))
    write_cameras(folders / "other.json", type(table)(**{**vars(table), "sizes": sizes}))
    inputs = [str(folders / f"cam{v}") for v in range(4)]
    with pytest.raises(RequestError, match=r"cam3: has pictures of 64 x 64 pixels.* 64 x 48 of its camera"):
        open_views(inputs, str(folders / "other.json"))


def test_as_many_cameras_as_views(rig):
    every = views_of(rig)
    with pytest.raises(RequestError, match="3 views, but 4 cameras"):
        MultiView(every.views[:3], cameras_of(camera_table(every)))
