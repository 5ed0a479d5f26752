"""How one picture lies on another of the same scene: the map between them, whatever else moves in front.

First a shift by phase correlation (C. Kuglin, D. Hines, The phase correlation image alignment method, 1975),
from wherever the pictures start. Then a similarity, and a homography where it fits better, by inverse
compositional alignment (S. Baker, I. Matthews, Lucas-Kanade 20 years on, IJCV 2004) on points spread over the
picture. Each point weighs less the further it is from agreeing (Tukey's biweight), so that an animal that
walks through the picture, or one that covers a third of it, does not pull the camera along.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from asterism.data.base import Picture

Map = NDArray[np.float64]  # 3 3, named b_from_a: pixels of a to pixels of b

SIDE = 320  # longest side on which pictures are compared
_SMALL, _FEW = 96, 6  # longest side, and how many pictures, that tell whether a camera moves at all
GAIN = 0.8  # of the difference must be left, or less, once a picture is laid on another that moved
_COARSEST = 40  # shorter side of the top of the pyramid
_POINTS = 2500  # per level: one per cell of a grid
_FINE, _WIDE = 1.0, 5.0  # pixels: noise below and shading above these are taken out
_PEAK = 1.0  # pixels: standard deviation of the peak of a phase correlation
_LEAST = 16  # pixels of both that a phase correlation wants
_TUKEY = 4.685  # times the spread of the residuals: 95 % efficient for a Gaussian
_SPREAD = 1.4826  # standard deviation of a Gaussian per median absolute deviation
_STEPS = 12
_DONE = 1e-2  # pixels: the last step moved no corner further
_BENT = 0.97  # a homography must leave this share of a similarity's residual, or less
_DARK = 2  # grey levels: the bars of a letterbox and the corners of a turned picture are no brighter


def shrunk(values: NDArray, factor: int) -> NDArray[np.float32]:
    """Mean over factor x factor blocks of an H W map; a rest that fills no block is dropped."""
    h, w = values.shape[0] // factor, values.shape[1] // factor
    rows = np.add.reduceat(values[: h * factor], np.arange(0, h * factor, factor), axis=0, dtype=np.float32)
    both = np.add.reduceat(rows[:, : w * factor], np.arange(0, w * factor, factor), axis=1)
    return (both / factor**2).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a pyramid, in its own pixels."""

    values: NDArray[np.float32]  # h w: the picture without noise and shading
    real: NDArray[np.bool_]  # h w: False in bars, in corners, and where these were smoothed in
    points: NDArray[np.float64]  # M 2: one place per cell of a grid, where the cell has most contrast
    there: NDArray[np.float32]  # M: values at the points
    slope: NDArray[np.float32]  # M 2: their gradient, along x and y


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """A picture prepared for alignment, finest level first."""

    shrink: int  # whole factor from source pixels to the finest level
    levels: tuple[Level, ...]


def bars(picture: Picture) -> NDArray[np.bool_]:
    """H W: black up to the picture's edge, as letterboxes and turned pictures are. They show no scene."""
    dark = picture.max(-1) <= _DARK
    if not (dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any()):
        return np.zeros_like(dark)
    parts = np.asarray(ndimage.label(dark)[0])  # pyright: ignore[reportIndexIssue]
    rim = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.isin(parts, rim[rim > 0])


def grown(where: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The places within some pixels of others, along rows and columns."""
    return np.asarray(ndimage.binary_dilation(where, iterations=pixels), bool)


def pyramid(picture: Picture, side: int = SIDE) -> Pyramid:
    """Levels of half the size of the one before, down to `_COARSEST` pixels."""
    shrink = max(1, round(max(picture.shape[:2]) / side))
    grey = shrunk(picture.mean(-1, dtype=np.float32), shrink)
    real = shrunk(bars(picture).astype(np.float32), shrink) == 0
    levels = [_level(grey, real)]
    while min(grey.shape) >= 2 * _COARSEST:
        grey, real = shrunk(grey, 2), shrunk(~real, 2) == 0
        levels.append(_level(grey, real))
    return Pyramid(shrink=shrink, levels=tuple(levels))


def _level(grey: NDArray[np.float32], real: NDArray[np.bool_]) -> Level:
    if not real.all():
        grey = np.where(real, grey, grey[real].mean() if real.any() else 0.0)
        real = ~grown(~real, round(2 * _FINE + 1))
    smooth = ndimage.gaussian_filter(grey, _FINE, mode="nearest")
    values = smooth - ndimage.gaussian_filter(grey, _WIDE, mode="nearest")
    dy, dx = (np.asarray(slope) for slope in np.gradient(values))
    steep = (dx**2 + dy**2) * real
    h, w = steep.shape
    cell = max(2, int(np.ceil(np.sqrt(h * w / _POINTS))))
    rows, columns = h // cell, w // cell
    blocks = steep[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).swapaxes(1, 2)
    best = blocks.reshape(rows, columns, -1).argmax(-1)
    y = (np.arange(rows)[:, None] * cell + best // cell).ravel()
    x = (np.arange(columns) * cell + best % cell).ravel()
    kept = steep[y, x] > 0
    y, x = y[kept], x[kept]
    return Level(
        values=values.astype(np.float32),
        real=real,
        points=np.stack([x, y], -1).astype(np.float64),
        there=values[y, x].astype(np.float32),
        slope=np.stack([dx[y, x], dy[y, x]], -1).astype(np.float32),
    )


# ----------------------------------------------------------------------------------------------------- shifts


def phase_shift(a: NDArray[np.floating], b: NDArray[np.floating]) -> tuple[float, float]:
    """(x, y) by which the content of `a` has moved in `b`, both H W, to about a tenth of a pixel.

    Found up to half the picture, and then once more on the part that both show.
    """
    h, w = a.shape
    x, y = (round(v) for v in _correlated(a, b))
    if not (x or y) or abs(x) > w - _LEAST or abs(y) > h - _LEAST:
        return _correlated(a, b)
    rows = slice(max(0, -y), h - max(0, y)), slice(max(0, y), h - max(0, -y))
    columns = slice(max(0, -x), w - max(0, x)), slice(max(0, x), w - max(0, -x))
    rest = _correlated(a[rows[0], columns[0]], b[rows[1], columns[1]])
    if max(map(abs, rest)) > 2:
        return float(x), float(y)
    return x + rest[0], y + rest[1]


def _correlated(a: NDArray[np.floating], b: NDArray[np.floating]) -> tuple[float, float]:
    """The top of a phase correlation.

    The spectrum is whitened and then smoothed to a Gaussian peak, whose logarithm is a parabola: three
    values on each axis say where its top is.
    """
    h, w = a.shape
    window = np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[1:-1]
    first, second = (np.fft.rfft2((v - v.mean()) * window) for v in (a, b))
    cross = second * np.conj(first)
    size = np.abs(cross)
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)
    bell = np.exp(-2 * (np.pi * _PEAK) ** 2 * (fx**2 + fy**2))
    surface = np.fft.irfft2(cross / np.maximum(size, 1e-9 * size.max() + 1e-30) * bell, (h, w))
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    dy = row + _top(surface[np.arange(row - 1, row + 2) % h, column])
    dx = column + _top(surface[row, np.arange(column - 1, column + 2) % w])
    return float((dx + w / 2) % w - w / 2), float((dy + h / 2) % h - h / 2)


def _top(three: NDArray[np.floating]) -> float:
    """Where a Gaussian through three values at -1, 0, 1 is largest."""
    low, middle, high = np.log(np.maximum(three, 1e-3 * max(three[1], 1e-30)))
    bend = low - 2 * middle + high
    return float(np.clip((low - high) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


# -------------------------------------------------------------------------------------------------- alignment


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """`b_from_a` in source pixels, and how well it holds."""

    b_from_a: Map
    likeness: float  # 1 where the map explains all, 0 where it leaves what two unrelated pictures would
    residual: float  # grey levels: median absolute difference under the map
    overlap: float  # share of a's points that lie in b


def align(a: Pyramid, b: Pyramid, starts: tuple[Map, ...]) -> Alignment:
    """The map from picture `a` to picture `b`, from the best of several first guesses (in source pixels)."""
    f, top = a.shrink, len(a.levels) - 1
    guesses = [_rescaled(start, 1 / (f * 2**top)) for start in starts]
    guesses += [_climb(a.levels[top], b.levels[top], guess, bent=False) for guess in guesses]
    fits = [_agreement(a.levels[top], b.levels[top], guess)[0] for guess in guesses]
    found = _rescaled(guesses[int(np.argmax(fits))], 2**top)
    for depth in range(top, -1, -1):
        at = _climb(a.levels[depth], b.levels[depth], _rescaled(found, 2.0**-depth), bent=False)
        found = _rescaled(at, 2.0**depth)
    likeness, residual, overlap = _agreement(a.levels[0], b.levels[0], found)
    bent = _climb(a.levels[0], b.levels[0], found, bent=True)
    better = _agreement(a.levels[0], b.levels[0], bent)
    if better[1] < _BENT * residual and better[0] > likeness:
        found, (likeness, residual, overlap) = bent, better
    return Alignment(b_from_a=_rescaled(found, f), likeness=likeness, residual=residual, overlap=overlap)


def unlike(a: Pyramid, b: Pyramid, b_from_a: Map) -> float:
    """Grey levels: median absolute difference of two pictures under a map in source pixels."""
    return _agreement(a.levels[0], b.levels[0], _rescaled(b_from_a, 1 / a.shrink))[1]


def wander(pictures: list[Picture]) -> float:
    """How far the scene of some pictures has moved from the middle one, as a share of their longest side.

    0 where it stands still: where at least half of the pictures agree with the middle one no better when
    they are laid on it. A median over a few of them.
    """
    middle, few = len(pictures) // 2, np.linspace(0, len(pictures) - 1, _FEW).round().astype(int)
    h, w = pictures[0].shape[:2]
    key, still, corners = pyramid(pictures[middle], _SMALL), np.eye(3), corners_of((h, w))
    moved = []
    for i in sorted(set(few.tolist()) - {middle}):
        now = pyramid(pictures[i], _SMALL)
        found = align(key, now, (still, shift_between(key, now)))
        gain = unlike(key, now, found.b_from_a) / max(unlike(key, now, still), 1e-9)
        away = np.linalg.norm(applied(found.b_from_a, corners) - corners, axis=-1).mean() / max(h, w)
        moved.append(float(away) if gain < GAIN and found.likeness > 0 else 0.0)
    return float(np.median(moved)) if moved else 0.0


def corners_of(size: tuple[int, ...]) -> NDArray[np.float64]:
    """4 2: the corner pixels of a picture of `size` (h, w), the last one opposite the first."""
    h, w = size[:2]
    return np.array([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]], float)


def shift_between(a: Pyramid, b: Pyramid) -> Map:
    """The map of a phase correlation, in source pixels."""
    depth = min(1, len(a.levels) - 1)
    first, second = a.levels[depth], b.levels[depth]
    out = np.eye(3)
    out[:2, 2] = phase_shift(first.values * first.real, second.values * second.real)
    return _rescaled(out, a.shrink * 2.0**depth)


def _rescaled(b_from_a: Map, factor: float | int) -> Map:
    """The same map between pictures whose pixels are `factor` times smaller, pixel centres kept."""
    up = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    return up @ b_from_a @ np.linalg.inv(up)


def applied(b_from_a: Map, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points N 2 of a, in b."""
    out = xy @ b_from_a[:, :2].T + b_from_a[:, 2]
    return out[:, :2] / out[:, 2:]


def _residuals(a: Level, b: Level, b_from_a: Map) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """b at a's points minus a there, and which points show the scene in both."""
    h, w = b.values.shape
    xy = applied(b_from_a, a.points)
    x, y = np.nan_to_num(xy, nan=-1e9).clip(-1e9, 1e9).T
    seen = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
    seen[seen] = b.real[np.rint(y[seen]).astype(int), np.rint(x[seen]).astype(int)]
    there = ndimage.map_coordinates(b.values, [y[seen], x[seen]], order=1)
    out = np.zeros(len(seen))
    out[seen] = there - a.there[seen]
    return out, seen


def _agreement(a: Level, b: Level, b_from_a: Map) -> tuple[float, float, float]:
    """Likeness, median absolute residual, share of the points that are seen in both (see Alignment)."""
    apart, seen = _residuals(a, b, b_from_a)
    overlap = float(seen.mean()) if len(seen) else 0.0
    if seen.sum() < 20:
        return -np.inf, np.inf, overlap
    residual = float(np.median(np.abs(apart[seen])))
    unrelated = np.sqrt(2) * float(np.median(np.abs(a.there[seen])))
    return 1 - residual / max(unrelated, 1e-9), residual, overlap


def _climb(a: Level, b: Level, b_from_a: Map, *, bent: bool) -> Map:
    """Gauss-Newton steps of a similarity, or of a homography, from a first map; the first one where lost."""
    h, w = a.values.shape
    middle, unit = np.array([w - 1, h - 1]) / 2, max(h, w) / 2
    x, y = ((a.points - middle) / unit).T
    gx, gy = a.slope.T.astype(np.float64)
    columns = [gx * x + gy * y, gy * x - gx * y, gx, gy]
    if bent:
        columns += [gx * x - gy * y, gx * y + gy * x, -x * (gx * x + gy * y), -y * (gx * x + gy * y)]
    jacobian = np.stack(columns, -1)
    to_unit = np.array([[1 / unit, 0, -middle[0] / unit], [0, 1 / unit, -middle[1] / unit], [0, 0, 1]])
    from_unit = np.linalg.inv(to_unit)
    corners = corners_of((h, w))
    found = b_from_a
    for _ in range(_STEPS):
        apart, seen = _residuals(a, b, found)
        if seen.sum() < 20:
            return b_from_a
        scale = _SPREAD * np.median(np.abs(apart[seen])) + 1e-9
        weight = np.where(seen, np.clip(1 - (apart / (_TUKEY * scale)) ** 2, 0, None) ** 2, 0.0)
        side = jacobian.T @ (weight * apart)
        power = (jacobian * weight[:, None]).T @ jacobian
        p = np.linalg.solve(power + 1e-9 * np.trace(power) * np.eye(len(side)), side)
        step = from_unit @ _small(p / unit) @ to_unit
        # An a that has moved by `step` agrees with b under `found`: a itself, under found o step^-1.
        found = found @ np.linalg.inv(step)
        if np.abs(applied(step, corners) - corners).max() < _DONE:
            break
    return found


def _small(p: NDArray[np.float64]) -> Map:
    """A map near the identity, in units of half the picture, from the parameters of `_climb`."""
    grow, turn, x, y, *rest = p
    stretch, shear, tip_x, tip_y = rest or (0.0, 0.0, 0.0, 0.0)
    return np.array(
        [[1 + grow + stretch, shear - turn, x], [shear + turn, 1 + grow - stretch, y], [tip_x, tip_y, 1]]
    )
