"""All images of one thing: a mean shape, a map from every image to it, and labels assigned by position as
well.

Generalised Procrustes in complex numbers: image i's features z go to u z + v conj(z) + t (affine; mirrored
images are those with |v| > |u|). Nothing here knows pixels: images are first centred and scaled by their
spread.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Complex, Float, Int

from asterism.ops.assignment import assign


def units(xy: Float[np.ndarray, "N 2"], offsets: Int[np.ndarray, " M1"]) -> Complex[np.ndarray, " N"]:
    """Points as complex numbers, centred in their image and divided by its spread."""
    z = xy[:, 0] + 1j * xy[:, 1]
    for a, b in pairwise(offsets):
        if b > a:
            z[a:b] -= z[a:b].mean()
            z[a:b] /= max(np.sqrt((np.abs(z[a:b]) ** 2).mean()), 1e-12)
    return z


def mean_shape(
    z: Complex[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    offsets: Int[np.ndarray, " M1"],
    k: int,
    rounds: int,
) -> tuple[Complex[np.ndarray, " N"], Complex[np.ndarray, " K"]]:
    """Features moved into the frame of the mean shape, and the shape; a label nobody has is not a number."""
    image = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    held = labels >= 0
    start = int(np.argmax(np.bincount(image[held], minlength=len(offsets) - 1)))
    shape = np.full(k, np.nan + 0j)
    own = held & (image == start)
    shape[labels[own]] = z[own]
    moved = z
    for turn in range(rounds):
        moved = _to_shape(z, labels, image, shape, affine=turn >= rounds // 2)
        shape = _medians(moved, labels, k, shape)
        there = np.isfinite(shape)
        size = float(np.sqrt((np.abs(shape[there]) ** 2).sum() / max(there.sum(), 1)))
        if size > 0:
            shape[there] /= size
            moved[np.isfinite(moved)] /= size
    return moved, shape


def _to_shape(z, labels, image, shape, affine):
    """Every image's features by its own least-squares map; an image with too few points gets no numbers."""
    m = int(image.max(initial=-1)) + 1
    target = np.where(labels >= 0, shape[np.maximum(labels, 0)], np.nan)
    use = np.isfinite(target)
    at, to, where = z[use], target[use], image[use]
    plain = _fit(np.stack([at, np.ones_like(at)], 1), to, where, m, 1e-9)
    mirrored = _fit(np.stack([np.conj(at), np.ones_like(at)], 1), to, where, m, 1e-9)
    guesses = [(plain[image] * np.stack([z, np.ones_like(z)], 1)).sum(1)]
    guesses.append((mirrored[image] * np.stack([np.conj(z), np.ones_like(z)], 1)).sum(1))
    errors = [np.bincount(where, np.abs(g[use] - to), m) for g in guesses]
    flip = errors[1] < 0.7 * errors[0]
    moved = np.where(flip[image], guesses[1], guesses[0])
    if affine:
        seen = moved[use]
        basis = np.stack([seen, np.conj(seen), np.ones_like(seen)], 1)
        full = _fit(basis, to, where, m, 0.3)
        moved = (full[image] * np.stack([moved, np.conj(moved), np.ones_like(moved)], 1)).sum(1)
    few = np.bincount(where, minlength=m) < 3
    return np.where(few[image], np.nan, moved)


def _fit(basis, target, image, m, ridge):
    """Least squares in every image at once; `ridge` keeps the middle of three coefficients small."""
    c = basis.shape[1]
    normal = np.zeros((m, c, c), complex)
    right = np.zeros((m, c), complex)
    np.add.at(normal, image, basis.conj()[:, :, None] * basis[:, None, :])
    np.add.at(right, image, basis.conj() * target[:, None])
    keep = np.full(c, 1e-9)
    keep[1 if c == 3 else 0] = ridge
    return np.linalg.solve(normal + np.diag(keep), right[..., None])[..., 0]


def _medians(moved, labels, k, otherwise):
    """The median position of every label; not a number for one nobody has."""
    use = (labels >= 0) & np.isfinite(moved)
    order = np.argsort(labels[use], kind="stable")
    values, of = moved[use][order], labels[use][order]
    edges = np.searchsorted(of, np.arange(k + 1))
    out = np.full(k, np.nan + 0j)
    for u in range(k):
        part = values[edges[u] : edges[u + 1]]
        if len(part):
            out[u] = np.median(part.real) + 1j * np.median(part.imag)
    return out


def reassigned(
    moved: Complex[np.ndarray, " N"],
    shape: Complex[np.ndarray, " K"],
    support: Float[np.ndarray, "N K"],
    offsets: Int[np.ndarray, " M1"],
    scale: float,
) -> Int[np.ndarray, " N"]:
    """Labels by position and by the share of votes together; what neither supports gets none.

    A feature further than two `scale` from its label's place needs half of all its votes for it.
    """
    off = np.abs(moved[:, None] - shape[None]) / scale
    off = np.where(np.isfinite(off), off, 8)
    return assign(2 * np.exp(-0.5 * np.minimum(off, 8) ** 2) + 0.5 * support, offsets, least=2 * np.exp(-2.0))
