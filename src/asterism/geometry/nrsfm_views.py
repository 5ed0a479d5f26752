"""What one orthographic view tells of a shape whose kind is known: where it is seen from, and what it is.

A view is xy "K 2" of which points may be missing. A shape is mean + sum c_s basis_s, c_s of variance one.
For a given rotation and scale the coefficients and the shift are known in closed form, and so is how likely
the view is with the coefficients integrated out (Tipping and Bishop, "Probabilistic Principal Component
Analysis", JRSS B 1999); rotations and scales are searched from several starts, among them the reversal in
depth (Necker), and then sampled around the best, weighted by importance.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry.so3 import angle_between, exp, nearest

STARTS = 6  # random rotations from which a view is searched, beside the affine one and its reversal
_SETTLE, _TURNS = 20, 6  # of coefficients and rotation in turn; of the rotation each time
_NEAR = 0.02  # radians, and logarithm of the scale: over which curvature is measured
_WIDER, _WIDEST, _NARROWEST = 1.3, 0.25, 0.003  # of the Gaussian that samples are drawn from: factor, limits
_APART = 0.35  # radians between two answers that are not the same


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What shapes of a kind are like; c_s has variance one, `noise` is that of a coordinate of a view.

    Scales of views have mean one and standard deviation `scale_sd`.
    """

    mean: Float[Tensor, "K 3"]
    basis: Float[Tensor, "S K 3"]
    noise: float
    scale_sd: float

    def shape(self, c: Float[Tensor, "*n S"]) -> Float[Tensor, "*n K 3"]:
        return self.mean + torch.einsum("...s,skd->...kd", c, self.basis)


@dataclass(frozen=True, kw_only=True)
class Views:
    """N views; xy is anything where not valid."""

    xy: Float[Tensor, "N K 2"]
    valid: Bool[Tensor, "N K"]

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, rows: Tensor) -> "Views":
        return Views(xy=self.xy[rows], valid=self.valid[rows])


class Dice:
    """Normal numbers in four dimensions that fill space evenly (Sobol's sequence), always the same ones."""

    def __init__(self) -> None:
        self._engine = torch.quasirandom.SobolEngine(4)
        self._engine.fast_forward(1)  # the first point is zero, where the normal quantile is not finite

    def normal(self, n: int, like: Tensor) -> Float[Tensor, "n 4"]:
        return torch.special.ndtri(self._engine.draw(n, dtype=like.dtype)).to(like.device)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """J guesses of each view's rotation and scale, and what follows; weights of a view sum to one."""

    rotation: Float[Tensor, "N J 3 3"]
    scale: Float[Tensor, "N J"]
    weight: Float[Tensor, "N J"]
    likely: Float[Tensor, "N J"]  # logarithm, but for a constant
    c: Float[Tensor, "N J S"]
    cov: Float[Tensor, "N J S S"]

    def camera(self) -> Float[Tensor, "N J 2 3"]:
        return self.scale[..., None, None] * self.rotation[..., :2, :]


def centred(xy: Float[Tensor, "*n K D"], valid: Bool[Tensor, "*m K"]) -> Float[Tensor, "*n K D"]:
    """About the mean of the valid points, and zero where not valid."""
    kept = valid[..., None]
    middle = (xy * kept).sum(-2, keepdim=True) / kept.sum(-2, keepdim=True).clamp_min(1)
    return (xy - middle) * kept


def given(
    views: Views, kind: Kind, rotation: Float[Tensor, "N J 3 3"], scale: Float[Tensor, "N J"]
) -> tuple[Float[Tensor, "N J"], Float[Tensor, "N J S"], Float[Tensor, "N J S S"]]:
    """How likely each view is with this rotation and scale (logarithm, but for a constant), and its
    coefficients, their mean and covariance. The shift is the best one.
    """
    camera = scale[..., None, None] * rotation[..., :2, :]
    kept = views.valid[:, None]
    shown = torch.einsum("njab,skb->njska", camera, kind.basis)
    shown = centred(shown, kept[:, :, None]).flatten(3)
    left = centred(views.xy[:, None] - torch.einsum("kb,njab->njka", kind.mean, camera), kept).flatten(2)
    eye = torch.eye(len(kind.basis), dtype=left.dtype, device=left.device)
    lower = torch.linalg.cholesky(shown @ shown.mT / kind.noise + eye)
    pull = (shown @ left[..., None]) / kind.noise
    c = torch.cholesky_solve(pull, lower)
    fit = left.square().sum(-1) / kind.noise - (pull * c).sum((-2, -1))
    likely = -fit / 2 - lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    if kind.scale_sd > 0:
        likely = likely - ((scale - 1) / kind.scale_sd).square() / 2
    return likely, c[..., 0], torch.cholesky_inverse(lower)


def turned(
    views: Views, kind: Kind, xyz: Float[Tensor, "N K 3"], rotation: Float[Tensor, "N 3 3"], steps: int
) -> tuple[Float[Tensor, "N 3 3"], Float[Tensor, " N"]]:
    """Rotation and scale of least squared distance: what is not seen is filled in, again and again."""
    xy, firm = centred(views.xy, views.valid), kind.noise / max(kind.scale_sd, 1e-9) ** 2
    there = centred(xyz, views.valid)
    scale = scaled(xy, there @ rotation[:, :2].mT, firm)
    for _ in range(steps):
        flat = xyz @ rotation.mT
        shift = (xyz - there) @ rotation[:, :2].mT  # of the seen points' mean
        seen = torch.where(views.valid[..., None], xy / scale[:, None, None] + shift, flat[..., :2])
        whole = torch.cat([seen, flat[..., 2:]], dim=-1)
        rotation = nearest((whole - whole.mean(1, keepdim=True)).mT @ (xyz - xyz.mean(1, keepdim=True)))
        scale = scaled(xy, there @ rotation[:, :2].mT, firm)
    return rotation, scale


def scaled(xy: Float[Tensor, "N K 2"], placed: Float[Tensor, "N K 2"], firm: float) -> Float[Tensor, " N"]:
    """The scale of least squared distance; its prior of mean one counts as so much squared length."""
    along, square = (placed * xy).sum((1, 2)), placed.square().sum((1, 2)).clamp_min(1e-300)
    return ((along + firm) / (square + firm)).clamp_min(1e-6)


def settled(
    views: Views, kind: Kind, rotation: Float[Tensor, "N 3 3"]
) -> tuple[Float[Tensor, "N 3 3"], Float[Tensor, " N"]]:
    """The nearest best rotation and scale: coefficients and rotation in turn."""
    scale = rotation.new_ones(len(rotation))
    for _ in range(_SETTLE):
        _, c, _ = given(views, kind, rotation[:, None], scale[:, None])
        rotation, scale = turned(views, kind, kind.shape(c[:, 0]), rotation, _TURNS)
    return rotation, scale


def searched(
    views: Views, kind: Kind, starts: int, dice: Dice
) -> tuple[Float[Tensor, "N 2 3 3"], Float[Tensor, "N 2"]]:
    """The best rotation and scale of each view, and the best that is another one, or the same again."""
    first, _ = turned(views, kind, kind.mean.expand(len(views), -1, -1), affine(views, kind.mean), 40)
    flip = torch.tensor([1.0, 1, -1], dtype=first.dtype, device=first.device)
    chance = exp(torch.pi * dice.normal(starts, like=first)[:, :3])
    every = [first, flip[:, None] * first * flip, *(x.expand_as(first) for x in chance)]
    rotation, scale = (
        torch.stack(each, dim=1) for each in zip(*(settled(views, kind, start) for start in every))
    )
    likely, _, _ = given(views, kind, rotation, scale)
    row = torch.arange(len(views), device=likely.device)
    best = likely.argmax(1)
    same = angle_between(rotation, rotation[row, best][:, None].expand_as(rotation)) < _APART
    other = likely.masked_fill(same, -torch.inf)
    other = torch.where(same.all(1), best, other.argmax(1))
    both = torch.stack([best, other], dim=1)
    return rotation[row[:, None], both], scale[row[:, None], both]


def affine(views: Views, xyz: Float[Tensor, "K 3"]) -> Float[Tensor, "N 3 3"]:
    """Rotations near the best affine cameras of one shape."""
    kept = views.valid[..., None].to(xyz.dtype)
    there, xy = centred(xyz.expand(len(views), -1, -1), views.valid), centred(views.xy, views.valid)
    eye = torch.eye(3, dtype=xyz.dtype, device=xyz.device)
    gram = (there * kept).mT @ there
    firm = 1e-6 * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-12
    return completed(torch.linalg.solve(gram + firm * eye, there.mT @ xy).mT)[0]


def completed(rows: Float[Tensor, "N 2 3"]) -> tuple[Float[Tensor, "N 3 3"], Float[Tensor, " N"]]:
    """The rotation and the scale nearest to an affine camera."""
    third = torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]
    third = third / third.square().sum(-1, keepdim=True).clamp_min(1e-300) ** 0.25
    rotation = nearest(torch.cat([rows, third], dim=1))
    return rotation, ((rows * rotation[:, :2]).sum((1, 2)) / 2).clamp_min(1e-6)


def alone(views: Views, kind: Kind, rotation: Float[Tensor, "N 3 3"], scale: Float[Tensor, " N"]) -> Samples:
    """One guess for each view."""
    likely, c, cov = given(views, kind, rotation[:, None], scale[:, None])
    one = torch.ones_like(likely)
    return Samples(rotation=rotation[:, None], scale=scale[:, None], weight=one, likely=likely, c=c, cov=cov)


def sampled(
    views: Views,
    kind: Kind,
    rotation: Float[Tensor, "N M 3 3"],
    scale: Float[Tensor, "N M"],
    count: int,
    dice: Dice,
) -> Samples:
    """`count` guesses around each of the M given ones, which come first, weighted by how likely they are.

    They are drawn from a Gaussian somewhat wider than what is likely near the given one.
    """
    root, log_volume = _spread(views, kind, rotation, scale)
    draw = dice.normal(count, like=rotation)
    draw[0] = 0
    step = torch.einsum("nmab,jb->njma", root, draw)
    rotations, scales = (x.flatten(1, 2) for x in _stepped(rotation[:, None], scale[:, None], step))
    likely, c, cov = given(views, kind, rotations, scales)
    drawn = -draw.square().sum(-1)[:, None] / 2 - log_volume[:, None]  # N J M
    weight = torch.softmax(likely - drawn.flatten(1), dim=1)
    return Samples(rotation=rotations, scale=scales, weight=weight, likely=likely, c=c, cov=cov)


def _stepped(rotation: Tensor, scale: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """A small turn about the view's axes, and a growth."""
    turn = exp(step[..., :3])
    return turn @ rotation.expand(*turn.shape), scale * step[..., 3].exp()


def _spread(views: Views, kind: Kind, rotation: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Of turn and growth "N M 4 4", a root of the covariance of a Gaussian with the curvature
    that the likelihood has there, made wider; and the logarithm of its volume.
    """
    h = _NEAR * torch.eye(4, dtype=rotation.dtype, device=rotation.device)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    twice = [a * h[i] + a * h[i] for i in range(4) for a in (1, -1)]
    mixed = [a * h[i] + b * h[j] for i, j in pairs for a in (1, -1) for b in (1, -1)]
    tried = torch.stack([0 * h[0], *twice, *mixed])[:, None].expand(-1, rotation.shape[1], -1)  # 33 M 4
    moved = _stepped(rotation[:, None], scale[:, None], tried.expand(len(views), -1, -1, -1))
    likely = given(views, kind, *(x.flatten(1, 2) for x in moved))[0].unflatten(1, (len(tried), -1))
    both = likely[:, 1:9].unflatten(1, (4, 2)).sum(2) - 2 * likely[:, :1]
    cross = (likely[:, 9:].unflatten(1, (-1, 4)) * likely.new_tensor([1, -1, -1, 1])[:, None]).sum(2)
    curve = torch.diag_embed(both.movedim(1, -1))  # second derivatives, N M 4 4
    for p, (i, j) in enumerate(pairs):
        curve[..., i, j] = curve[..., j, i] = cross[:, p]
    curve = curve / (4 * _NEAR**2)
    free = 4 if kind.scale_sd > 0 else 3  # a scale that is known is not searched
    values, axes = torch.linalg.eigh(-curve[..., :free, :free])
    width = _WIDER / values.clamp(1 / _WIDEST**2, 1 / _NARROWEST**2).sqrt()
    spread = torch.zeros_like(curve)
    spread[..., :free, :free] = axes * width[..., None, :]
    return spread, width.log().sum(-1)
