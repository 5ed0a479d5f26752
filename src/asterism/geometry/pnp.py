"""Where a camera stands from points whose places are known: global, robust, refined, with covariance.

One camera and one set of points per row of the batch, xy in its (distorted) pixels. An observation of weight
w has the variance sigma^2 / w; one that is not valid takes no part. What is found is cam_from_world, "B 3 4".
- `sqpnp`: Terzakis and Lourakis, "A Consistently Fast and Globally Optimal Solution to the
Perspective-n-Point
  Problem", ECCV 2020: the error in space as a quadratic form of the rotation, minimised over rotations from
  its smallest eigenvectors (by Gauss-Newton on the rotations, where the paper has sequential quadratic
  programming).
- `ransac`: Fischler and Bolles 1981, with the truncated cost of MSAC (Torr and Zisserman 2000) and local
optimisation
  (Chum, Matas, Kittler 2003). Few points: every triple. Many: a fixed sequence of triples, so that nothing
  changes from run to run.
- `refine`: Levenberg-Marquardt on the distances in pixels. `covariance`: Hartley and Zisserman, 5.2.
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asterism.geometry import camera
from asterism.geometry.levenberg import minimise
from asterism.geometry.p3p import p3p
from asterism.geometry.precision import full_precision
from asterism.geometry.so3 import exp, moved, nearest, skew
from asterism.types import Cameras, Struct

_STEPS = 20  # Levenberg-Marquardt steps, at most
_GAIN = 1e-7  # share of its cost that a step must win somewhere, or it was the last
_TRIPLES = (
    120  # tried at most: 9 points have 84; with half of the points strays one in 10 million draws misses
)
_STAGE = 30  # triples at a time; the search ends when another good triple is all but sure to have been drawn
_MISSED = 1e-6  # the chance that it has not
_KEPT, _FEW_STEPS = 4, 5  # hypotheses that are refined at first, and the steps of that


@dataclass(frozen=True, kw_only=True, repr=False)
class Pose(Struct):
    """Poses; where `valid` is False too few points agreed and the numbers mean nothing.

    `cov` is of the small turn (radians, about the camera's axes) and shift (world units) that follow the
    pose: X_cam = exp(turn) R X + t + shift. `error` is the root mean square of the inliers' distances, in
    pixels.
    """

    cam_from_world: Float[Tensor, "B 3 4"]
    cov: Float[Tensor, "B 6 6"]
    inlier: Bool[Tensor, "B K"]
    valid: Bool[Tensor, " B"]
    error: Float[Tensor, " B"]


def ransac(
    cameras: Cameras,
    xyz: Float[Tensor, "B K 3"],
    xy: Float[Tensor, "B K 2"],
    valid: Bool[Tensor, "B K"],
    *,
    threshold: float | int,
    sigma: float | int,
    least: int = 5,
    weight: Float[Tensor, "B K"] | None = None,
) -> Pose:
    """Robust poses; the poses that `cameras` have are not used.

    A point agrees within `threshold` pixels, times 1 / sqrt(w) where it has a weight. A pose is refused
    (`valid` False) when fewer than `least` points agree: three always do and four often, by chance. Raises
    ValueError for `least` below four.
    """
    if least < 4:
        raise ValueError(f"least={least}: three points agree with up to four poses; wanted 4 or more")
    w = torch.ones_like(xy[..., 0]) if weight is None else weight
    ray, reached = camera.undistort(cameras, torch.where(valid[..., None], xy, 0))
    used = valid & reached
    with torch.no_grad():
        kept = _search(cameras, xyz, ray, used, w, threshold)  # B S 3 4
        b, s = kept.shape[:2]
        many = _repeat(cameras, s)
        points, seen, asked, heavy = (x.repeat_interleave(s, dim=0) for x in (xyz, xy, used, w))
        found = kept.flatten(0, 1)
        agrees = _agree(replace(many, cam_from_world=found), points, seen, asked, heavy, threshold)[1]
        found = _minimise(many, points, seen, agrees * heavy, found, _FEW_STEPS)
        cost = _msac(replace(many, cam_from_world=found), points, seen, asked, heavy, threshold).reshape(b, s)
        found = found.unflatten(0, (b, s))[torch.arange(b, device=xyz.device), cost.argmin(1)]
        for _ in range(2):  # what agrees with the best pose, then what agrees with it refined
            agrees = _agree(replace(cameras, cam_from_world=found), xyz, xy, used, w, threshold)[1]
            found = _minimise(cameras, xyz, xy, agrees * w, found, _STEPS)
    return _finished(cameras, found, xyz, xy, used, w, threshold, sigma, least)


def sqpnp(
    cameras: Cameras,
    xyz: Float[Tensor, "B K 3"],
    xy: Float[Tensor, "B K 2"],
    valid: Bool[Tensor, "B K"],
    weight: Float[Tensor, "B K"] | None = None,
) -> Float[Tensor, "B 3 4"]:
    """The pose of least weighted squared distance between points and rays, in space; for 4 points or more.

    Flat sets of points are no exception. Fewer than three valid points give finite nonsense.
    """
    w = torch.ones_like(xy[..., 0]) if weight is None else weight
    ray, reached = camera.undistort(cameras, torch.where(valid[..., None], xy, 0))
    with torch.no_grad(), full_precision(xyz):
        share = torch.where(valid & reached, w, 0)
        share = share / share.sum(1, keepdim=True).clamp_min(1e-300)
        middle = (share[..., None] * xyz).sum(1, keepdim=True)
        unit = (share[..., None] * (xyz - middle).square()).sum((1, 2)).sqrt().clamp_min(1e-300)
        local = (xyz - middle) / unit[:, None, None]
        form, shift_of = _quadratic(local, ray, share)
        rotation = _least_rotation(form, shift_of, local, share)
        shift = unit[:, None] * (shift_of @ rotation.flatten(1)[..., None])[..., 0]
        shift = shift - (rotation @ middle.mT)[..., 0]
    return torch.cat([rotation, shift[..., None]], dim=-1)


def refine(
    cameras: Cameras,
    xyz: Float[Tensor, "B K 3"],
    xy: Float[Tensor, "B K 2"],
    valid: Bool[Tensor, "B K"],
    cam_from_world: Float[Tensor, "B 3 4"],
    weight: Float[Tensor, "B K"] | None = None,
) -> Float[Tensor, "B 3 4"]:
    """The pose of least weighted squared distance in pixels, by Levenberg-Marquardt from `cam_from_world`."""
    w = torch.ones_like(xy[..., 0]) if weight is None else weight
    with torch.no_grad():
        seen = torch.where(valid[..., None], xy, 0)
        return _minimise(cameras, xyz, seen, valid * w, cam_from_world, _STEPS)


def covariance(
    cameras: Cameras,
    xyz: Float[Tensor, "B K 3"],
    valid: Bool[Tensor, "B K"],
    *,
    sigma: float | int,
    weight: Float[Tensor, "B K"] | None = None,
) -> Float[Tensor, "B 6 6"]:
    """sigma^2 (sum w J^T J)^-1 of turn and shift at the cameras' own poses, to first order."""
    w = torch.ones_like(xyz[..., 0]) if weight is None else weight
    normal = _system(cameras, xyz, xyz[..., :2], valid * w)[1]
    return float(sigma) ** 2 * _inverse(normal)


def _finished(
    cameras: Cameras,
    found: Tensor,
    xyz: Tensor,
    xy: Tensor,
    used: Tensor,
    w: Tensor,
    threshold: float,
    sigma: float,
    least: int,
) -> Pose:
    placed = replace(cameras, cam_from_world=found)
    distance, inlier = _agree(placed, xyz, xy, used, w, threshold)
    enough = inlier.sum(1) >= least
    inlier = inlier & enough[:, None]
    cov = covariance(placed, xyz, inlier, sigma=sigma, weight=w)
    eye = torch.eye(3, 4, dtype=xyz.dtype, device=xyz.device)
    square = torch.where(inlier, distance.square(), 0).sum(1) / inlier.sum(1).clamp_min(1)
    return Pose(
        cam_from_world=torch.where(enough[:, None, None], found, eye),
        cov=torch.where(enough[:, None, None], cov, 0),
        inlier=inlier,
        valid=enough,
        error=square.sqrt(),
    )


# ------------------------------------------------------------------------------------------ hypotheses


def triples(points: int, most: int = _TRIPLES) -> Int[Tensor, "S 3"]:
    """All triples of so many points, or `most` of a fixed sequence that spreads over them evenly.

    The sequence: multiples of the root of x^4 = x + 1 and its powers, modulo one (Roberts 2018, after
    Kronecker).
    """
    if math.comb(points, 3) <= most:
        every = torch.tensor(list(combinations(range(points), 3)), dtype=torch.int64).reshape(-1, 3)
        golden = (math.sqrt(5) - 1) / 2
        return every[(torch.arange(len(every), dtype=torch.float64) * golden % 1).argsort()]
    g = 1.2207440846057596
    step = torch.tensor([1 / g, 1 / g**2, 1 / g**3], dtype=torch.float64)
    place = (torch.arange(1, most + 1, dtype=torch.float64)[:, None] * step) % 1
    a, b, c = (place * torch.tensor([points, points - 1, points - 2])).long().unbind(-1)
    b = b + (b >= a)
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    c = c + (c >= low)
    return torch.stack([a, b, c + (c >= high)], dim=-1)


def _search(cameras: Cameras, xyz: Tensor, ray: Tensor, used: Tensor, w: Tensor, threshold: float) -> Tensor:
    """The _KEPT best poses of triples, "B S 3 4", by what they cost on ideal rays."""
    b, k = used.shape
    order = used.to(torch.int8).argsort(dim=1, descending=True, stable=True)  # the used ones come first
    count = used.sum(1)
    chosen = triples(k)
    if int(count.min()) < k and math.comb(k, 3) > len(chosen):  # a sequence over all would waste draws
        chosen = triples(max(int(count.min()), 3))
    focal = cameras.intrinsics[:, [0, 1], [0, 1]]
    kept = torch.eye(3, 4, dtype=xyz.dtype, device=xyz.device).repeat(b, _KEPT, 1, 1)
    cost = xyz.new_full((b, _KEPT), torch.inf)
    left, tried = torch.arange(b, device=xyz.device), 0
    for part in chosen.to(xyz.device).split(_STAGE):
        pose, alive = _hypotheses(xyz[left], ray[left], used[left], order[left], part)
        new, agree = _rough(pose, xyz[left], ray[left], focal[left], used[left], w[left], threshold)
        new = torch.where(alive, new, torch.inf)
        every, all_costs = torch.cat([kept[left], pose], dim=1), torch.cat([cost[left], new], dim=1)
        cost[left], best = all_costs.topk(_KEPT, dim=1, largest=False)
        kept[left] = every.gather(1, best[..., None, None].expand(-1, -1, 3, 4))
        tried += len(part)
        share = torch.where(alive, agree, 0).amax(1) / count[left].clamp_min(1)
        left = left[tried * torch.log1p(-(share**3).clamp(max=1 - 1e-9)) > math.log(_MISSED)]
        if not len(left):
            break
    return kept


def _hypotheses(
    xyz: Tensor, ray: Tensor, used: Tensor, order: Tensor, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """Poses "B S 3 4" of triples of used points, and which are solutions."""
    b = len(used)
    rows = order[:, chosen.flatten()]  # B 3S
    points = xyz.gather(1, rows[..., None].expand(-1, -1, 3)).reshape(-1, 3, 3)
    rays = ray.gather(1, rows[..., None].expand(-1, -1, 2)).reshape(-1, 3, 2)
    ok = used.gather(1, rows).reshape(-1, 3).all(-1)
    pose, good = p3p(points, rays)
    return pose.reshape(b, -1, 3, 4), (good & ok[:, None]).reshape(b, -1)


def _rough(
    pose: Tensor, xyz: Tensor, ray: Tensor, focal: Tensor, used: Tensor, w: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """Truncated costs, "B S", and how many points agree, of poses "B S 3 4": without the lens, float32."""
    scale = focal[..., None].float()  # B 2 1
    turn, shift = pose[..., :3].flatten(1, 2).float(), pose[..., 3].flatten(1)[..., None].float()
    with full_precision(xyz):
        seen = (turn @ xyz.mT.float() + shift).unflatten(1, (-1, 3))  # B S 3 K
    x, y, z = seen.unbind(2)
    wanted = ray.mT.float()
    inverse = 1 / z
    square = (scale[:, :1] * (x * inverse - wanted[:, None, 0])).square()
    square = square + (scale[:, 1:] * (y * inverse - wanted[:, None, 1])).square()
    limit = threshold**2
    square = torch.where(z > 0, w[:, None].float() * square, limit).clamp(max=limit)
    square = torch.where(used[:, None], square, limit)
    return square.sum(-1).to(xyz.dtype), (square < limit).sum(-1)


def _msac(cameras: Cameras, xyz: Tensor, xy: Tensor, used: Tensor, w: Tensor, threshold: float) -> Tensor:
    """Truncated weighted squared distances in pixels, "B"."""
    shown, depth = camera.project(cameras, xyz)
    square = (w * (shown - xy).square().sum(-1)).clamp(max=threshold**2)
    return torch.where(used, torch.where(depth > 0, square, threshold**2), 0).sum(-1)


def _agree(
    cameras: Cameras, xyz: Tensor, xy: Tensor, used: Tensor, w: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """Distances in pixels, and which points agree, "B K" both."""
    shown, depth = camera.project(cameras, xyz)
    distance = (shown - xy).norm(dim=-1)
    return distance, used & (depth > 0) & (distance * w.sqrt() <= threshold)


def _repeat(cameras: Cameras, times: int) -> Cameras:
    return cameras[torch.arange(len(cameras), device=cameras.intrinsics.device).repeat_interleave(times)]


# ------------------------------------------------------------------------------------------ SQPnP


def _quadratic(xyz: Tensor, ray: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The error r^T form r of a rotation r = vec(R) by rows, "B 9 9", and t = shift_of r, "B 3 9"."""
    bearing = torch.cat([ray, torch.ones_like(ray[..., :1])], dim=-1)
    along = bearing[..., None] * bearing[..., None, :] / bearing.square().sum(-1)[..., None, None]
    eye = torch.eye(3, dtype=xyz.dtype, device=xyz.device)
    across = share[..., None, None] * (eye - along)  # B K 3 3: what is beside the ray
    spread = torch.zeros(*xyz.shape[:2], 3, 9, dtype=xyz.dtype, device=xyz.device)
    for i in range(3):
        spread[..., i, 3 * i : 3 * i + 3] = xyz  # R X = spread r
    whole = across.sum(1)
    by_rotation = (across @ spread).sum(1)
    shift_of = -torch.linalg.lstsq(whole, by_rotation).solution
    moved = spread + shift_of[:, None]
    return (moved.mT @ across @ moved).sum(1), shift_of


def _least_rotation(form: Tensor, shift_of: Tensor, xyz: Tensor, share: Tensor) -> Tensor:
    """The rotation of least r^T form r that sees the points in front, "B 3 3"."""
    b = len(form)
    vectors = torch.linalg.eigh(form).eigenvectors[..., :4].mT.unflatten(-1, (3, 3))  # B 4 3 3
    start = nearest(torch.cat([vectors, -vectors], dim=1))  # B 8 3 3
    form = form[:, None]
    rotation, axes = start, skew(torch.eye(3, dtype=form.dtype, device=form.device))
    for _ in range(15):
        slope = (axes @ rotation[..., None, :, :]).flatten(-2)  # B 8 3 9: d vec(R) / d turn
        normal = slope @ form @ slope.mT
        flat = rotation.flatten(-2)[..., None]
        gradient = slope @ (form @ flat)
        ridge = 1e-6 * normal.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp_min(1e-300)
        eye = torch.eye(3, dtype=form.dtype, device=form.device)
        step = -torch.linalg.solve(normal + ridge * eye, gradient)[..., 0]
        length = step.norm(dim=-1, keepdim=True)
        rotation = exp(step * (0.5 / length.clamp_min(0.5))) @ rotation
    flat = rotation.flatten(-2)[..., None]
    cost = (flat.mT @ form @ flat)[..., 0, 0]
    shift = (shift_of[:, None] @ flat)[..., 0]
    depth = (xyz[:, None] @ rotation[..., 2, :, None])[..., 0] + shift[..., 2:]  # B 8 K
    front = ((depth > 0) & (share > 0)[:, None]).sum(-1)
    behind = (share > 0).sum(1)[:, None] - front
    return rotation[torch.arange(b, device=form.device), (cost + behind * cost.new_tensor(1e3)).argmin(1)]


# ------------------------------------------------------------------------------------------ least squares


def _system(cameras: Cameras, xyz: Tensor, xy: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cost "B", normal matrix "B 6 6" and half the gradient "B 6" by turn and shift."""
    shown, depth, by_xyz = camera.project_jacobian(cameras, xyz)
    with full_precision(xyz):
        by_cam = by_xyz @ cameras.cam_from_world[:, None, :, :3].mT
        turned = xyz @ cameras.cam_from_world[..., :3].mT
        by_pose = torch.cat([-(by_cam @ skew(turned)), by_cam], dim=-1)  # B K 2 6
        share = weight[..., None]
        residual = torch.where(share > 0, shown - xy, 0)
        flat = (share[..., None] * by_pose).flatten(1, 2)
        normal = flat.mT @ by_pose.flatten(1, 2)
        gradient = (flat.mT @ residual.flatten(1)[..., None])[..., 0]
    cost = (share * residual.square()).sum((1, 2))
    behind = ((depth <= 0) & (weight > 0)).any(1)
    return torch.where(behind, torch.inf, cost), normal, gradient


def _minimise(cameras: Cameras, xyz: Tensor, xy: Tensor, weight: Tensor, pose: Tensor, steps: int) -> Tensor:
    found, _ = minimise(
        lambda x: _system(replace(cameras, cam_from_world=x[0]), xyz, xy, weight),
        lambda x, step: (moved(x[0], step),),
        (pose,),
        steps=steps,
        least=_GAIN,
    )
    return found[0]


def _inverse(normal: Tensor) -> Tensor:
    """The inverse, scaled before so that turns and shifts do not mix in rounding."""
    scale = normal.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).rsqrt()
    scaled = scale[:, :, None] * normal * scale[:, None]
    eye = torch.eye(6, dtype=normal.dtype, device=normal.device)
    return scale[:, :, None] * torch.linalg.inv_ex(scaled + 1e-14 * eye).inverse * scale[:, None]
