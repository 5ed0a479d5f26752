"""Where a calibration starts: views worth having, each camera alone, and the cameras brought together."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from asterism.errors import RequestError
from asterism.geometry import calibration, camera, chain, homography, pnp, rigid, zhang
from asterism.geometry.calibration import ALL, LENS, Scene, Views
from asterism.io.board import Board
from asterism.io.corners import Corners
from asterism.types import Cameras

LEAST_CORNERS, LEAST_VIEWS, LEAST_SHARED = 6, 4, 3  # of a view, of a camera, of two cameras joined
CELLS = 8  # a picture is cut into CELLS x CELLS to see what corners cover
_CAUCHY = 2.3849  # 95 % efficiency under Gaussian noise (Holland, Welsch 1977)
_MEDIAN = math.sqrt(2 * math.log(2))  # median distance of Gaussian noise in the plane, in sigmas
_FLOOR = 1e-3  # pixels: corners are never more exact
_ROUGH = 1e-5  # the relative gain that ends a robust fit: squares on what agrees follow
_ROUNDS = 4  # of finding the noise and fitting under it
_WITHIN = 1 / 50  # of the picture's size: corners agree with a pose before the lens is known
_CAP = 10.0  # pixels from which a corner costs no more, where starts are compared
_PAIR = 10.0  # what a pair of cameras that see the board together counts, in cells, when moments are chosen
_FEW = 16  # corners below which a view is one of few
_GOOD = 1.0  # pixels, mean: a start that fits so well needs no other
_NEAR = 3.0  # pixels, at the least: corners agree with a pose when the lens is known
_BASE, _K2, _P, _K3 = (0, 1, 2, 3, 4), (5,), (6, 7), (8,)  # fx fy cx cy k1, and other columns of the lens


@dataclass(frozen=True)
class Seen:
    """Views of V cameras at T moments, whose numbers in the files are `frame`."""

    views: Views
    frame: NDArray[np.int64]
    sizes: tuple[tuple[int, int], ...]
    names: tuple[str, ...]

    def at(self, moments: NDArray[np.int64]) -> "Seen":
        """Some of the moments, in order."""
        place = np.full(len(self.frame), -1)
        place[moments] = np.arange(len(moments))
        now = place[self.views.moment.numpy()]
        views = self.views[torch.from_numpy((now >= 0).nonzero()[0])]
        views = replace(views, moment=torch.from_numpy(now[now >= 0]))
        return replace(self, views=views, frame=self.frame[moments])

    def count(self) -> NDArray[np.bool_]:
        """T V: who saw the board when."""
        out = np.zeros((len(self.frame), len(self.names)), bool)
        out[self.views.moment.numpy(), self.views.camera.numpy()] = True
        return out


def usable(corners: Corners, board: Board) -> Seen:
    """Views with LEAST_CORNERS that do not lie in a line. Raises RequestError for a camera with too few."""
    key = np.stack([corners.camera, corners.frame], axis=1)
    pairs, row = np.unique(key, axis=0, return_inverse=True)
    xy = np.zeros((len(pairs), len(board), 2))
    valid = np.zeros(xy.shape[:2], bool)
    xy[row, corners.corner], valid[row, corners.corner] = corners.xy, True
    plane = board.points()[:, :2] / board.square
    good = np.array([_spans(plane[each]) for each in valid], bool)
    pairs, xy, valid = pairs[good], xy[good], valid[good]
    views = np.bincount(pairs[:, 0], minlength=len(corners.names))
    for name, n in zip(corners.names, views.tolist()):
        if n < LEAST_VIEWS:
            raise RequestError(
                f"camera {name}: {n} views of the board with {LEAST_CORNERS} corners or more; wanted "
                f"{LEAST_VIEWS} at the least, better 20, or --leave-out {name}"
            )
    frame, moment = np.unique(pairs[:, 1], return_inverse=True)
    sizes = tuple(size for size in corners.sizes if size is not None)
    if len(sizes) < len(corners.names):
        raise ValueError("the size of every camera's pictures must be known: io.corners.with_sizes")
    seen = Views(
        camera=torch.from_numpy(pairs[:, 0]),
        moment=torch.from_numpy(moment.astype(np.int64)),
        xy=torch.from_numpy(xy),
        valid=torch.from_numpy(valid),
    )
    return Seen(seen, frame, sizes, corners.names)


def _spans(plane: NDArray[np.float64]) -> bool:
    if len(plane) < LEAST_CORNERS:
        return False
    return float(np.linalg.svd(plane - plane.mean(0), compute_uv=False)[1]) > 0.5


def handed(seen: Seen, board: Board) -> tuple[Seen, NDArray[np.int64]]:
    """All views with the board the same side up, and per camera how many had to be mirrored or left out.

    Rows of a chessboard that were numbered from the wrong end are turned round; a mirrored view of a board
    with markers is a wrong one. Raises RequestError for a camera that sees most boards in a mirror.
    """
    views = seen.views
    plane = torch.from_numpy(board.points()[:, :2])
    h = zhang.homographies(plane, views.xy, views.valid)
    middle = (views.valid[..., None] * plane).sum(1, keepdim=True) / views.valid.sum(1)[:, None, None]
    sign = torch.linalg.det(_area(h, middle)).sign()
    right = sign == (1.0 if sign.sum() >= 0 else -1.0)
    wrong = np.bincount(views.camera[~right].numpy(), minlength=len(seen.names))
    total = np.bincount(views.camera.numpy(), minlength=len(seen.names))
    if board.half_turn:
        order = torch.arange(len(board)).unflatten(0, (board.rows, board.columns)).flip(1).flatten()
        xy = torch.where(right[:, None, None], views.xy, views.xy[:, order])
        valid = torch.where(right[:, None], views.valid, views.valid[:, order])
        return replace(seen, views=replace(views, xy=xy, valid=valid)), wrong
    for name, bad, n in zip(seen.names, wrong.tolist(), total.tolist()):
        if 2 * bad > n:
            raise RequestError(
                f"camera {name}: {bad} of {n} boards are mirrored against the other cameras'; are its "
                f"pictures flipped? Flip them back, or --leave-out {name}"
            )
    return replace(seen, views=views[right]), wrong


def _area(h: Tensor, at: Tensor) -> Tensor:
    """The derivative of a homography at one point each, "P 2 2"."""
    return homography.Homography(b_from_a=h).jacobian(at)[:, 0]


def choose(seen: Seen, most: int) -> NDArray[np.int64]:
    """At most so many moments that cover pictures and join cameras best, one by one, in order of time."""
    t, v = len(seen.frame), len(seen.names)
    if t <= most:
        return np.arange(t)
    gain = np.zeros((t, v, CELLS * CELLS), np.float64)
    for row in range(len(seen.views)):
        c, m = int(seen.views.camera[row]), int(seen.views.moment[row])
        xy = seen.views.xy[row][seen.views.valid[row]].numpy()
        gain[m, c, cells_of(xy, seen.sizes[c])] = 1
    both = seen.count()
    pairs = (both[:, :, None] & both[:, None])[:, *np.triu_indices(v, 1)]
    what = np.concatenate([gain.reshape(t, -1), pairs * _PAIR, both * _PAIR], axis=1)
    found, left, had = list[int](), np.ones(t, bool), np.zeros(what.shape[1])
    for _ in range(most):
        worth = np.where(left, what @ (1 / (1 + had)), -1.0)
        best = int(worth.argmax())
        found.append(best)
        left[best] = False
        had += what[best] > 0
    return np.array(sorted(found))


def cells_of(xy: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
    """The cell of the picture that each corner is in, from 0 to CELLS * CELLS - 1."""
    h, w = size
    cell = np.clip(np.floor(xy / [w, h] * CELLS).astype(np.int64), 0, CELLS - 1)
    return cell[:, 1] * CELLS + cell[:, 0]


# ------------------------------------------------------------------------------------------ one camera alone


@dataclass(frozen=True)
class Alone:
    """One camera in its own world: board poses, which views have one, and the columns that move."""

    scene: Scene
    good: Bool[Tensor, " P"]
    free: Bool[Tensor, " 15"]


def alone(views: Views, board: Float[Tensor, "K 3"], size: tuple[int, int]) -> Alone | None:
    """The lens of one camera and the board's place in its own `views`. None where no pose fits.

    Starts from Zhang's matrix, from the focal length alone, and from a usual lens; what fits best is kept.
    """
    count = len(views)
    own = replace(views, camera=torch.zeros(count, dtype=torch.int64), moment=torch.arange(count))
    h = zhang.homographies(board[:, :2], own.xy, own.valid)
    best, least = None, math.inf
    for k in (zhang.intrinsics(h, size), zhang.focal_alone(h, size), _usual(size)):
        if k is None or not _likely(k, size) or least < _GOOD:
            continue
        start = _posed(_lensless(k), own, board, max(size) * _WITHIN)
        if start is None:
            continue
        scene = robust(start[0], _only(own, start[1]), board, _columns(*_BASE, *_K2)[None])
        off = calibration.distances(scene, own, board).clamp(max=_CAP)
        cost = float(torch.where(start[1][:, None], off, _CAP)[own.valid].mean())
        if cost < least:
            best, least = scene, cost
    if best is None:
        return None
    off = calibration.distances(best, own, board)[own.valid]
    again = _posed(best.cameras, own, board, max(_NEAR, 6 * noise(off[off < _CAP])))  # with the lens
    if again is None:
        return None
    scene, free = _terms(again[0], _only(own, again[1]), board, size)
    return Alone(scene, again[1], free)


def _only(views: Views, good: Tensor) -> Views:
    return replace(views, valid=views.valid & good[:, None])


def _lensless(k: Tensor) -> Cameras:
    eye = torch.eye(3, 4, dtype=k.dtype)[None]
    return Cameras(intrinsics=k[None], cam_from_world=eye, distortion=k.new_zeros(1, 5))


def _usual(size: tuple[int, int]) -> Tensor:
    h, w = size
    rows = [[max(h, w), 0, (w - 1) / 2], [0, max(h, w), (h - 1) / 2], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def _likely(k: Tensor, size: tuple[int, int]) -> bool:
    h, w = size
    fx, fy, cx, cy = k[0, 0] / max(h, w), k[1, 1] / max(h, w), k[0, 2] / w, k[1, 2] / h
    return bool(0.2 < fx < 20 and 0.8 < fx / fy < 1.25 and 0.2 < cx < 0.8 and 0.2 < cy < 0.8)


def _posed(one: Cameras, views: Views, board: Tensor, threshold: float) -> tuple[Scene, Tensor] | None:
    """The board in every view, and where most corners agree on it; None with fewer than LEAST_VIEWS."""
    p, k = views.valid.shape
    golden = (math.sqrt(5) - 1) / 2  # neighbours in this order are far apart: the triples tried are no rows
    order = (torch.arange(k, dtype=torch.float64) * golden % 1).argsort()
    pose = torch.eye(3, 4, dtype=board.dtype).repeat(p, 1, 1)
    pose[:, 2, 3] = board.norm(dim=-1).max()
    good, count = torch.zeros(p, dtype=torch.bool), views.valid.sum(1)
    for rows in ((count < _FEW).nonzero()[:, 0], (count >= _FEW).nonzero()[:, 0]):
        if len(rows):  # apart, since the emptiest view says how many corners triples are drawn from
            found = pnp.ransac(
                one[torch.zeros_like(rows)],
                board[order].expand(len(rows), -1, -1),
                views.xy[rows][:, order],
                views.valid[rows][:, order],
                threshold=threshold,
                sigma=1.0,
                least=LEAST_CORNERS,
            )
            good[rows] = found.valid & (2 * found.inlier.sum(1) > count[rows])
            pose[rows] = torch.where(good[rows][:, None, None], found.cam_from_world, pose[rows])
    return (Scene(one, pose), good) if int(good.sum()) >= LEAST_VIEWS else None


def robust(scene: Scene, views: Views, board: Tensor, free: Bool[Tensor, "V 15"]) -> Scene:
    """Cauchy's loss, its scale from the noise that is found, again and again."""
    for _ in range(_ROUNDS):
        sigma = noise(calibration.distances(scene, views, board)[views.valid])
        scene = calibration.adjust(scene, views, board, free, _CAUCHY * sigma, least=_ROUGH)
    return scene


def noise(distance: Tensor) -> float:
    """Standard deviation per axis from the median distance, in pixels."""
    return max(float(distance.median()) / _MEDIAN, _FLOOR)


def _columns(*which: int) -> Tensor:
    free = torch.zeros(ALL, dtype=torch.bool)
    free[list(which)] = True
    return free


def _terms(scene: Scene, views: Views, board: Tensor, size: tuple[int, int]) -> tuple[Scene, Tensor]:
    """k1, k2, p1, p2, and k3 where the data ask for it by Schwarz's criterion (Annals of Statistics 1978).

    k2 and k3 are kept only where the lens still rises to the picture's corners.
    """
    scene = robust(scene, views, board, _columns(*_BASE, *_K2, *_P)[None])
    off = calibration.distances(scene, views, board)
    inlier = replace(views, valid=views.valid & (off < 4.3 * noise(off[views.valid])))
    plain = replace(scene.cameras, distortion=scene.cameras.distortion * torch.eye(5, dtype=off.dtype)[0])
    kept = calibration.adjust(
        replace(scene, cameras=plain), inlier, board, _columns(*_BASE, *_P)[None], math.inf
    )
    free, cost = _columns(*_BASE, *_P), math.inf
    count = 2 * int(inlier.valid.sum())
    for term in (_K2, _K3):
        more = free | _columns(*term)
        trial = calibration.adjust(kept, inlier, board, more[None], math.inf)
        new = float(calibration.distances(trial, inlier, board)[inlier.valid].square().sum())
        gain = (
            math.inf if term == _K2 else count * math.log(max(cost, 1e-12 * count) / max(new, 1e-12 * count))
        )
        if gain > math.log(count) and rises(trial.cameras, [size]).all():
            kept, free, cost = trial, more, new
    return kept, free


def rises(cameras: Cameras, sizes: list[tuple[int, int]]) -> Bool[Tensor, " V"]:
    """Whether every camera's lens polynomial holds to the corners of its picture."""
    edge = [[[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]] for h, w in sizes]
    return camera.undistort(cameras, torch.tensor(edge, dtype=torch.float64))[1].all(1)


# ------------------------------------------------------------------------------------------ cameras together


def together(
    seen: Seen, each: list[Alone], board: Board
) -> tuple[Scene, Views, Bool[Tensor, "V 15"], list[tuple[int, int, int]]]:
    """The scene that the cameras' own poses chain to, views numbered alike, what is free, the tree's edges.

    An edge has the number of moments that agree on it. The world is that of camera 0.

    Raises RequestError where a part of the cameras is joined with the rest by too few moments, or where a
    chessboard's half turns cannot be told apart.
    """
    v, t = len(seen.names), len(seen.frame)
    pose = torch.eye(3, 4, dtype=torch.float64).repeat(t, v, 1, 1)
    has = torch.zeros(t, v, dtype=torch.bool)
    for c, one in enumerate(each):
        rows = (seen.views.camera == c).nonzero()[:, 0]
        pose[seen.views.moment[rows], c] = one.scene.world_from_board
        has[seen.views.moment[rows], c] = one.good
    symmetries = _symmetries(board)
    weight, found = torch.zeros(v, v, dtype=torch.int64), dict[tuple[int, int], chain.Relative]()
    for i in range(v):
        for j in range(i + 1, v):
            both = has[:, i] & has[:, j]
            if int(both.sum()) >= LEAST_SHARED:
                found[i, j] = chain.relative(pose[both, i], pose[both, j], symmetries)
                agree = int(found[i, j].agree.sum())
                clear = found[i, j].rival < 0.8 * agree  # a rival with as many moments is no less likely
                weight[i, j] = weight[j, i] = agree if agree >= LEAST_SHARED and clear else 0
    edges, parts = chain.tree(weight)
    if len(parts) > 1:
        raise RequestError(_apart(seen, parts, found))
    cam_from_world = torch.eye(3, 4, dtype=torch.float64).repeat(v, 1, 1)
    for a, b in edges:
        a_from_b = found[min(a, b), max(a, b)].a_from_b
        b_from_a = a_from_b if b < a else rigid.inverse(a_from_b[None])[0]
        cam_from_world[b] = rigid.compose(b_from_a[None], cam_from_world[a][None])[0]
    scene, views = _boards(seen, each, cam_from_world, pose, has, symmetries)
    free = torch.stack([one.free for one in each])
    free[1:, LENS:] = True
    return scene, views, free, [(a, b, int(weight[a, b])) for a, b in edges]


def _symmetries(board: Board) -> Tensor:
    eye = torch.eye(3, 4, dtype=torch.float64)[None]
    if not board.half_turn:
        return eye
    x, y = (board.columns - 1) * board.square, (board.rows - 1) * board.square
    half = torch.tensor([[[-1, 0, 0, x], [0, -1, 0, y], [0, 0, 1, 0]]], dtype=torch.float64)
    return torch.cat([eye, half])


def _apart(seen: Seen, parts: list[list[int]], found: dict[tuple[int, int], chain.Relative]) -> str:
    told = " | ".join(", ".join(seen.names[c] for c in part) for part in parts)
    most = max(parts, key=len)
    lost = [seen.names[c] for part in parts if part is not most for c in part]
    unsure = [
        f"{seen.names[i]} and {seen.names[j]}"
        for (i, j), one in found.items()
        if one.rival >= 0.8 * int(one.agree.sum()) and int(one.agree.sum()) >= LEAST_SHARED
    ]
    hint = (
        f" Between {', '.join(unsure)} half a turn of the chessboard would fit as well: move it more, or "
        "take a charuco board."
        if unsure
        else ""
    )
    return (
        f"these cameras are not joined by a board that {LEAST_SHARED} moments or more show to both sides: "
        f"{told}. Show the board to them together, or --leave-out {' '.join(lost)}.{hint}"
    )


def _boards(
    seen: Seen, each: list[Alone], cam_from_world: Tensor, pose: Tensor, has: Tensor, symmetries: Tensor
) -> tuple[Scene, Views]:
    """Board poses that most cameras agree on; corners renumbered where a camera saw the board turned."""
    t, v = has.shape
    world_from_board = torch.eye(3, 4, dtype=torch.float64).repeat(t, 1, 1)
    turned = torch.zeros(t, v, dtype=torch.int64)
    for m in range(t):
        who = has[m].nonzero()[:, 0]
        if len(who):
            world_from_board[m], turned[m, who], _ = chain.placed(
                cam_from_world[who], pose[m, who], symmetries
            )
    views = seen.views
    swap = turned[views.moment, views.camera] == 1
    ok = has[views.moment, views.camera]
    views = replace(
        views,
        xy=torch.where(swap[:, None, None], views.xy.flip(1), views.xy),
        valid=torch.where(swap[:, None], views.valid.flip(1), views.valid) & ok[:, None],
    )
    cameras = Cameras(
        intrinsics=torch.cat([one.scene.cameras.intrinsics for one in each]),
        cam_from_world=cam_from_world,
        distortion=torch.cat([one.scene.cameras.distortion for one in each]),
    )
    return Scene(cameras, world_from_board), views[ok]
