"""Tables of several cameras to points in space, who is named bad, and cameras adjusted only if it helps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asterism.data.worlds import Rig
from asterism.engine import recalibrate
from asterism.engine.triangulate import Observed, Rule, observed, report, solve
from asterism.errors import RequestError
from asterism.geometry import bundle, camera
from asterism.io.cameras import CameraTable
from asterism.io.table import KeypointTable

VIEWS, MOMENTS = 5, 40


@pytest.fixture(scope="module")
def truth():
    rig = Rig(n=MOMENTS, views=VIEWS, subjects=1, seed=3, size=(480, 640))
    xyz = torch.from_numpy(rig.xyz)  # T K 3
    xy = camera.project(rig.cameras, xyz.reshape(1, -1, 3).expand(VIEWS, -1, 3))[0]
    return rig.cameras, xyz, xy.reshape(VIEWS, *xyz.shape[:2], 2)


def table_of(cameras):
    return CameraTable(
        names=tuple(f"cam{v}" for v in range(len(cameras))),
        intrinsics=cameras.intrinsics.numpy(),
        cam_from_world=cameras.cam_from_world.numpy(),
        distortion=cameras.distortion.numpy(),
        sizes=((480, 640),) * len(cameras),
        source="rig.json",
    )


def keypoints(xy, name="clip{v}.mp4#{t}", noise=0.0, seed=0):
    """A table per camera."""
    rng = np.random.default_rng(seed)
    v, t, k = xy.shape[:3]
    return [
        KeypointTable(
            names=tuple(f"p{i}" for i in range(k)),
            images=tuple(name.format(v=view, t=i) for i in range(t)),
            image=np.arange(t),
            individual=np.zeros(t, np.int64),
            xy=xy[view].numpy() + noise * rng.normal(size=(t, k, 2)),
            labelled=np.ones((t, k), bool),
            visible=np.ones((t, k), bool),
            score=np.ones((t, k)),
            box=np.zeros((t, 4)),
            has_box=np.zeros(t, bool),
            area=np.zeros(t),
            source=f"{view}.csv",
        )
        for view in range(v)
    ]


def test_rows_meet_by_the_number_of_their_moment_and_names_of_their_points(truth):
    cams, _, xy = truth
    tables = keypoints(xy)
    some = np.array([7, 3, 30])
    tables[1] = replace(
        tables[1],
        images=tuple(f"other/img{i:05d}.png" for i in some),
        image=np.arange(3),
        names=tables[1].names[::-1],
        **{n: getattr(tables[1], n)[some][:, ::-1] for n in ("xy", "labelled", "visible", "score")},
        **{n: getattr(tables[1], n)[some] for n in ("individual", "box", "has_box", "area")},
    )
    seen = observed(tables, table_of(cams), 0.2)
    assert seen.frame.tolist() == list(range(MOMENTS))
    assert seen.valid[:, 1].any(1).nonzero()[:, 0].tolist() == sorted(some)
    torch.testing.assert_close(seen.xy[some, 1], xy[1][some])


def test_tables_that_do_not_fit_are_refused(truth):
    cams, _, xy = truth
    tables = keypoints(xy)
    with pytest.raises(RequestError, match=r"4 files of keypoints, but rig.json has the cameras cam0"):
        observed(tables[:4], table_of(cams), 0.2)
    with pytest.raises(RequestError, match="differ in the points p0, q"):
        observed([*tables[:4], replace(tables[4], names=("q", *tables[4].names[1:]))], table_of(cams), 0.2)
    blank = [replace(t, images=tuple(f"{chr(97 + i)}" for i in range(MOMENTS))) for t in tables]
    assert observed(blank, table_of(cams), 0.2).frame.tolist() == list(range(MOMENTS))
    short = replace(blank[0], images=blank[0].images[:-1])
    with pytest.raises(RequestError, match=r"0.csv 39, 1.csv 40"):
        observed([short, *blank[1:]], table_of(cams), 0.2)
    with pytest.raises(RequestError, match="least_views=1"):
        Rule(least_views=1)


@pytest.mark.parametrize("noise", [0.3, 3.0, 12.0])
def test_the_noise_is_found_and_the_ellipsoids_hold_the_truth(truth, noise):
    cams, xyz, xy = truth
    seen = observed(keypoints(xy, noise=noise), table_of(cams), 0.2)
    stray = torch.rand(seen.valid.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    seen = replace(seen, xy=torch.where(stray[..., None], 400 * torch.rand_like(seen.xy), seen.xy))
    solved = solve(cams, seen, Rule())
    assert solved.sigma == pytest.approx(noise, rel=0.1)
    assert solved.points.valid.double().mean() > 0.9
    miss = (solved.points.xyz - xyz)[solved.points.valid]
    square = (miss * torch.linalg.solve(solved.points.cov[solved.points.valid], miss)).sum(-1)
    assert 0.6 < (square < 3.506).double().mean() < 0.76
    assert 0.9 < (square < 7.815).double().mean() < 0.99


def test_nothing_that_agrees_is_said_in_words(truth):
    cams, _, xy = truth
    seen = observed(keypoints(400 * torch.rand_like(xy)), table_of(cams), 0.2)
    with pytest.raises(RequestError, match="in the order of the cameras"):
        solve(cams, seen, Rule(threshold=1.0))


def test_the_report_names_what_was_spoilt(truth):
    cams, _, xy = truth
    xy = xy.clone()
    g = torch.Generator().manual_seed(0)
    xy[2] += 25 * torch.randn(2, generator=g, dtype=xy.dtype)  # a camera that was kicked
    xy[:, :, 4] += 60 * torch.randn(xy[:, :, 4].shape, generator=g, dtype=xy.dtype)  # a point that is noise
    xy[:, 11] += 60 * torch.randn(xy[:, 11].shape, generator=g, dtype=xy.dtype)  # a moment that is noise
    seen = observed(keypoints(xy, noise=1.0), table_of(cams), 0.2)
    solved = solve(cams, seen, Rule())
    told = report(table_of(cams), cams, seen, solved, Rule())
    assert told["bad_cameras"] == ["cam2"] and told["bad_keypoints"] == ["p4"]
    assert told["bad_frames"] == 1 and told["first_bad_frames"] == [11]
    assert told["cameras"]["cam2"]["held_out_px"] > 10 > told["cameras"]["cam1"]["held_out_px"]
    fine = observed(keypoints(truth[2], noise=1.0), table_of(cams), 0.2)
    told = report(table_of(cams), cams, fine, solve(cams, fine, Rule()), Rule())
    assert not told["bad_cameras"] and not told["bad_keypoints"] and not told["bad_frames"]


def shaken(cams, which):
    step = torch.zeros(len(cams), 6, dtype=torch.float64)
    step[which] = torch.tensor([0.015, -0.01, 0.008, 0.05, -0.04, 0.03], dtype=torch.float64)
    return bundle._moved(cams, step)


def test_cameras_are_adjusted_where_it_helps_and_left_where_it_does_not(truth):
    cams, _, xy = truth
    seen = observed(keypoints(xy, noise=1.0), table_of(cams), 0.2)
    wrong = shaken(cams, [1])
    judged = recalibrate.refine_cameras(wrong, seen, Rule())
    assert judged.accepted and "were adjusted" in judged.told()
    assert max(judged.after) < 0.5 * min(judged.before)
    angle, shift = bundle.motion(judged.cameras, cams)
    before = bundle.motion(wrong, cams)
    assert angle.max() < 0.2 * before[0].max() and shift.max() < 0.3 * before[1].max()
    right = recalibrate.refine_cameras(cams, seen, Rule())
    assert not right.accepted and right.cameras is cams and "left as they were" in right.told()


def test_too_little_to_judge_is_refused(truth):
    cams, _, xy = truth
    seen = observed(keypoints(xy[:, :3]), table_of(cams), 0.2)
    with pytest.raises(RequestError, match="3 moments"):
        recalibrate.refine_cameras(cams, seen, Rule())
    assert isinstance(seen, Observed)
