"""Thin-plate splines: smooth warps of the plane through given control points.

Bookstein, "Principal Warps: Thin-Plate Splines and the Decomposition of Deformations", TPAMI 1989.
f(x) = A x + t + sum_n w_n U(|x - c_n|) with U(r) = r^2 log r^2 and sum_n w_n = sum_n w_n c_n = 0. Points go
forward in closed form; the way back is Newton's method, started from a coarse lattice when points are many.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.coords import image_centre, xy_from_xyn
from asterism.geometry.linear import solve2
from asterism.geometry.precision import full_precision
from asterism.types import Struct

_CHUNK = 2**18  # kernel values at a time: a megabyte of float32, so that a CPU keeps them in its cache
_LATTICE = 33  # starts per side: a spline bends little over 1/32 of the image
_STEPS = 12  # of damped Newton, at most; 5 are usual
_POLISH = 4  # steps from the lattice, at most; 1 is usual
_CLOSE = 1e-2  # px: Newton squares an error, so the last step leaves less than 1e-4 px of this
_LEAST_AREA = 0.1  # a random warp may shrink no place below this share of its affine part


@dataclass(frozen=True, kw_only=True, repr=False)
class ThinPlateSpline(Struct):
    """A batch of splines, as a Warp. Distances in the kernel are measured in units of `side` pixels."""

    control: Float[Tensor, "B N 2"]
    weight: Float[Tensor, "B N 2"]
    b_from_a: Float[Tensor, "B 2 3"]
    side: Float[Tensor, " B"]

    @classmethod
    def from_points(cls, source: Float[Tensor, "B N 2"], target: Float[Tensor, "B N 2"]) -> "ThinPlateSpline":
        """The spline that takes every source point exactly to its target.

        Raises ValueError for fewer than three points, torch.linalg.LinAlgError when they lie on a line or two
        coincide.
        """
        b, n, _ = source.shape
        if n < 3:
            raise ValueError(f"a thin-plate spline needs at least 3 control points, got {n}")
        middle = source.mean(1, keepdim=True).detach()
        side = (source.amax(1) - source.amin(1)).amax(1).detach()
        unit = (source - middle) / side[:, None, None]  # B N 2: scaled, the system is well conditioned
        square, log = _radii(unit, unit)
        linear = torch.cat([torch.ones_like(unit[..., :1]), unit], dim=-1)  # B N 3
        top = torch.cat([square * log, linear], dim=-1)
        bottom = torch.cat([linear.mT, linear.new_zeros(b, 3, 3)], dim=-1)
        right = torch.cat([target, target.new_zeros(b, 3, 2)], dim=1)
        with full_precision(source):
            solved = torch.linalg.solve(torch.cat([top, bottom], dim=1), right)  # B N+3 2
        unit_from_a = affine.similarity(torch.zeros_like(side), 1 / side, -middle[:, 0] / side[:, None])
        b_from_unit = torch.cat([solved[:, n + 1 :], solved[:, n : n + 1]], dim=1).mT  # B 2 3
        return cls(
            control=source, weight=solved[:, :n], b_from_a=affine.compose(b_from_unit, unit_from_a), side=side
        )

    @classmethod
    def from_displacement(
        cls,
        displacement: Float[Tensor, "B gh gw 2"],
        size: tuple[int, int],
        linear: Float[Tensor, "B 2 3"] | None = None,
    ) -> "ThinPlateSpline":
        """`linear` (nothing when None), plus a displacement of a grid of control points.

        The grid of gh x gw points spans an image of `size` (h, w) from edge to edge; displacements are
        fractions of its shorter side.
        """
        b, gh, gw, _ = displacement.shape
        y = torch.linspace(-1, 1, gh, device=displacement.device, dtype=displacement.dtype)
        x = torch.linspace(-1, 1, gw, device=displacement.device, dtype=displacement.dtype)
        xyn = torch.stack([x.expand(gh, gw), y[:, None].expand(gh, gw)], dim=-1)
        control = xy_from_xyn(xyn, size).reshape(1, gh * gw, 2).repeat(b, 1, 1)
        moved = control if linear is None else affine.apply(linear, control)
        return cls.from_points(control, moved + displacement.reshape(b, gh * gw, 2) * min(size))

    @classmethod
    def random(
        cls,
        b: int,
        size: tuple[int, int],
        *,
        grid: int,
        displacement: float,
        rotation: float,
        scale: float,
        shift: float,
        generator: torch.Generator | None,
        like: Tensor,
    ) -> "ThinPlateSpline":
        """b random warps of an image of `size` (h, w), on the device and in the dtype of `like`.

        Control points (grid x grid) move by a normal displacement of this standard deviation, a fraction of
        the shorter side. Rotation (radians) and scale are about the middle of the image and uniform in
        +-rotation and 1+-scale; shift is uniform in +-shift of the shorter side. A warp that folds inside
        the image could not be undone: its displacement is shrunk, a quarter at a time, until it does not.
        """
        device = like.device if generator is None else generator.device

        def uniform(*shape: int) -> Tensor:
            return 2 * torch.rand(*shape, generator=generator, device=device).to(like) - 1

        middle = image_centre(size, like=like).expand(b, 2)
        centred = affine.similarity(rotation * uniform(b), 1 + scale * uniform(b), torch.zeros_like(middle))
        moved = affine.apply(centred, middle[:, None])[:, 0]
        offset = middle - moved + shift * min(size) * uniform(b, 2)
        linear = torch.cat([centred[..., :2], offset[..., None]], dim=-1)
        noise = torch.randn(b, grid, grid, 2, generator=generator, device=device).to(like)
        spline = cls.from_displacement(displacement * noise, size, linear)
        return spline._unfolded(size, linear)

    def points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        """Source pixels to warped pixels, exactly."""
        return torch.cat([self._value(part)[0] for part in self._parts(xy)], dim=1)

    def jacobian(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2 2"]:
        """d points / d xy at source pixels, in closed form."""
        return torch.cat([self._value_and_jacobian(part)[1] for part in self._parts(xy)], dim=1)

    def inverse_points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        """Warped pixels to source pixels, within 1e-4 px wherever solve_inverse says it converged.

        In float32 the spline itself is rounded to some 2e-6 of its side, 3e-4 px at 128.
        """
        return self.solve_inverse(xy)[0]

    def solve_inverse(self, xy: Float[Tensor, "B K 2"]) -> tuple[Float[Tensor, "B K 2"], Bool[Tensor, "B K"]]:
        """Source pixels, and where Newton's method converged (not where the spline folds).

        The last step is the differentiable one: its gradients by xy and by the spline are exact, because the
        derivative of an inverse needs only the Jacobian at the solution.
        """
        with torch.no_grad():
            few = xy.shape[1] <= 4 * _LATTICE**2
            start = self._newton(xy) if few else self._polish(self._from_lattice(xy), xy)
        found, converged = [], []
        # float32 cannot do better than its rounding in images of thousands of pixels
        close = (256 * torch.finfo(xy.dtype).eps * self.side).clamp_min(_CLOSE)[:, None]
        for wanted, x in zip(self._parts(xy), self._parts(start)):
            value, jacobian = self._value_and_jacobian(x)
            residual = value - wanted
            found.append(x - solve2(jacobian.detach(), residual))
            converged.append(residual.detach().norm(dim=-1) < close)
        return torch.cat(found, dim=1), torch.cat(converged, dim=1)

    def _parts(self, xy: Tensor) -> tuple[Tensor, ...]:
        return xy.split(max(1, _CHUNK // (self.control.shape[0] * self.control.shape[1])), dim=1)

    def _value(self, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values "B K 2", and what the Jacobian needs too: log r^2 "B K N" and points in units of side."""
        side = self.side[:, None, None]
        unit = xy / side
        square, log = _radii(unit, self.control / side)
        with full_precision(xy):
            return affine.apply(self.b_from_a, xy) + (square * log) @ self.weight, log, unit

    def _value_and_jacobian(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        value, log, unit = self._value(xy)
        w, side = self.weight, self.side[:, None, None, None]
        c = self.control / side[..., 0]
        # dU/dx = 2 (x - c) (log r^2 + 1), and sum w = sum w c = 0 takes away the + 1
        with full_precision(xy):
            moments = log @ torch.cat([w, w[..., :1] * c, w[..., 1:] * c], dim=-1)  # B K 6
        bend = moments[..., :2, None] * unit[..., None, :] - moments[..., 2:].unflatten(-1, (2, 2))
        return value, self.b_from_a[:, None, :, :2] + 2 / side * bend

    def _newton(self, xy: Tensor) -> Tensor:
        """Damped Newton from the affine part: a step that does not help is undone and cut to a quarter."""
        linear = self.b_from_a[:, None]  # B 1 2 3
        best = solve2(linear[..., :2], xy - linear[..., 2])
        value, jacobian = self._value_and_jacobian(best)
        residual = value - xy
        damping = torch.ones_like(xy[..., :1])
        for _ in range(_STEPS):
            if residual.abs().amax() < _CLOSE / 2:
                break
            value, slope = self._value_and_jacobian(trial := best - damping * solve2(jacobian, residual))
            better = (value - xy).square().sum(-1, keepdim=True) < residual.square().sum(-1, keepdim=True)
            best = torch.where(better, trial, best)
            residual = torch.where(better, value - xy, residual)
            jacobian = torch.where(better[..., None], slope, jacobian)
            damping = torch.where(better, (2 * damping).clamp_max(1), damping / 4)
        return best

    def _from_lattice(self, xy: Tensor) -> Tensor:
        """Newton on a lattice over the points' box, and bilinear in between."""
        m = _LATTICE
        low = xy.amin(1, keepdim=True)
        step = ((xy.amax(1, keepdim=True) - low) / (m - 1)).clamp_min(torch.finfo(xy.dtype).eps)
        index = torch.arange(m, device=xy.device, dtype=xy.dtype)
        grid = torch.stack([index.repeat(m), index.repeat_interleave(m)], dim=-1)  # m*m 2, x fastest
        nodes = self._newton(low + step * grid)
        at = (xy - low) / step
        cell = at.floor().clamp(0, m - 2)
        first = (cell[..., 1:] * m + cell[..., :1]).long().expand_as(xy)
        corner = [nodes.gather(1, first + k) for k in (0, 1, m, m + 1)]
        fx, fy = (at - cell).split(1, dim=-1)
        return torch.lerp(torch.lerp(corner[0], corner[1], fx), torch.lerp(corner[2], corner[3], fx), fy)

    def _polish(self, start: Tensor, xy: Tensor) -> Tensor:
        """Newton for every point, with more steps for those warps of the batch that need them."""
        found, rows = start.clone(), torch.arange(len(self), device=xy.device)
        for _ in range(_POLISH):
            spline, worst = self[rows], []
            parts = [spline._parts(t[rows]) for t in (found, xy)]
            moved = []
            for x, wanted in zip(*parts):
                value, jacobian = spline._value_and_jacobian(x)
                moved.append(x - solve2(jacobian, value - wanted))
                worst.append((value - wanted).abs().amax((1, 2)))
            found[rows] = torch.cat(moved, dim=1)
            rows = rows[torch.stack(worst).amax(0) > 10 * _CLOSE]  # 0.1 px before a step is 0.01 px after it
            if len(rows) == 0:
                break
        return found

    def _unfolded(self, size: tuple[int, int], linear: Tensor) -> "ThinPlateSpline":
        """Displacements shrunk where the spline folds: weights and affine part are linear in them."""
        per_side = 4 * math.isqrt(self.control.shape[1])  # four samples per control interval
        x = torch.linspace(-1, 1, per_side, device=linear.device, dtype=linear.dtype)
        grid = xy_from_xyn(torch.cartesian_prod(x, x), size).expand(len(self), -1, 2)
        least = _LEAST_AREA * affine.scale_of(linear).square()
        share = torch.ones_like(self.side)
        while True:
            t = share[:, None, None]
            shrunk = replace(self, weight=t * self.weight, b_from_a=torch.lerp(linear, self.b_from_a, t))
            folds = torch.linalg.det(shrunk.jacobian(grid)).amin(1) < least
            if not folds.any():
                return shrunk
            share = torch.where(folds, 0.75 * share, share)


def _radii(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """r^2 and log r^2 of all pairs, "B K N"; at a control point r^2 is the smallest number, not zero."""
    (x0, x1), (c0, c1) = (t.mT.contiguous().unbind(1) for t in (x, c))  # strided components are slow
    d0, d1 = x0[..., None] - c0[:, None], x1[..., None] - c1[:, None]
    square = (d0 * d0 + d1 * d1).clamp_min(torch.finfo(x.dtype).tiny)
    return square, square.log()
