"""Landmarks of a kind of thing that nobody labelled: the same k points in many pictures of it.

Features of all pictures are matched pair by pair, without geometry because the pictures may show different
things of one kind, and the k sets of features that agree best are chosen (multi-image-semantic). How well a
landmark agrees is the share of all pairs of pictures in which its two features chose each other. What chance
reaches is found by the same solver on the same matches, shuffled within each pair; landmarks that are no
better are dropped, and of the others what agrees with no more pictures than that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from asterism.engine.match import Seen, pairs_of
from asterism.errors import RequestError
from asterism.geometry.tps import ThinPlateSpline
from asterism.io.pairs import block_matrix
from asterism.io.table import KeypointTable
from asterism.matches import Matches
from asterism.methods.matching.multi_image_semantic import MultiImageSemantic
from asterism.ops.nearest import mutual_nearest
from asterism.ops.sampling import sample

_SHUFFLES = 3
_PICTURES = 4  # of three, two shuffled pairs in a row often agree by chance
# Random textures reached 1.52 times the chance of shuffled matches (some features are everyone's nearest).
# Landmarks of cats less than 0.15 of the way from chance to all were seen to sit on different parts.
_TIMES, _MARGIN, _AT_MOST = 1.75, 0.15, 0.5  # the last: however few the pictures, half the way is enough
_STRAY = 0.15  # of the longer side, from the similarity that most common landmarks agree with
_ROUNDING = 1e-6  # pixels
LEAST_FOR_FLOW = 4  # common landmarks: three say no more than an affine map
Pair = tuple[int, int, Int[np.ndarray, "_ 2"], Float[np.ndarray, " _"]]


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """xy "M K 2" in pixels of each picture, NaN where a landmark was not found; score "M K": the share of the
    other pictures whose feature chose this one and was chosen; `matched` "K": the same of all pairs of
    pictures; `chance`: what shuffled matches reach.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    xy: Float[np.ndarray, "M K 2"]
    score: Float[np.ndarray, "M K"]
    matched: Float[np.ndarray, " K"]
    chance: float


def thinned(one: Seen, share: float | int) -> Seen:
    """Without features nearer than this share of the diagonal to one that came before."""
    apart = share * float(np.hypot(*one.size))
    near = torch.cdist(one.xy, one.xy) < apart
    kept: list[int] = []
    for i in range(len(one.xy)):
        if not near[i, kept].any():
            kept.append(i)
    at = torch.tensor(kept, dtype=torch.long)
    return replace(one, xy=one.xy[at], descriptor=one.descriptor[at])


def annotate(every: Sequence[Seen], k: int, *, ratio: float | int = 0.95) -> Landmarks:
    """At most k landmarks, those that agree best first; none where nothing is better than chance.

    The same pictures always give the same landmarks. Raises RequestError for fewer than four pictures.
    """
    if len(every) < _PICTURES:
        raise RequestError(f"{len(every)} pictures: wanted {_PICTURES} or more, to see what agrees")
    pairs = [_pair(i, j, every, ratio) for i, j in pairs_of(len(every), 0)]
    labels, own, matched = _chosen(every, pairs, k)
    dice = np.random.default_rng(0)
    control = [_chosen(every, [_shuffled(p, dice) for p in pairs], k)[2] for _ in range(_SHUFFLES)]
    chance = max((float(one.max()) for one in control if len(one)), default=0.0)
    least = _least(chance)
    best = [u for u in np.argsort(-matched, kind="stable").tolist() if matched[u] > least]
    xy, score = np.full((len(every), len(best), 2), np.nan), np.zeros((len(every), len(best)))
    image = np.repeat(np.arange(len(every)), [len(one.xy) for one in every])
    place = torch.cat([one.xy for one in every]).numpy()
    for n, u in enumerate(best):
        mine = (labels == u) & (own > chance)
        xy[image[mine], n], score[image[mine], n] = place[mine], own[mine]
    return Landmarks(
        names=tuple(one.name for one in every),
        sizes=tuple(one.size for one in every),
        xy=xy,
        score=score,
        matched=matched[best],
        chance=chance,
    )


def _least(chance: float) -> float:
    """What a landmark's `matched` must be above."""
    left = 1 - chance
    return min(chance + _AT_MOST * left, max(_TIMES * chance, chance + _MARGIN * left))


def _pair(i: int, j: int, every: Sequence[Seen], ratio: float | int) -> Pair:
    index, similarity = mutual_nearest(every[i].descriptor, every[j].descriptor, ratio)
    return i, j, index.numpy(), similarity.double().numpy().clip(1e-6)


def _shuffled(pair: Pair, dice: np.random.Generator) -> Pair:
    i, j, index, weight = pair
    return i, j, np.stack([index[:, 0], dice.permutation(index[:, 1])], axis=1), weight


def _chosen(
    every: Sequence[Seen], pairs: list[Pair], k: int
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"], Float[np.ndarray, " K"]]:
    """A label per feature, the share of the other pictures that agree with it, and that of all pairs of
    pictures for each label.
    """
    counts = np.array([len(one.xy) for one in every], np.int64)
    xy = torch.cat([one.xy for one in every]).numpy()
    matches = Matches.of(block_matrix("matches", counts, pairs), counts, xy)
    labels = MultiImageSemantic().predict(matches, k).labels
    rows = np.repeat(np.arange(len(labels)), np.diff(matches.w.indptr))
    same = (labels[rows] == labels[matches.w.indices]) & (labels[rows] >= 0)
    agreed = np.bincount(rows[same], minlength=len(labels)).astype(np.float64)
    held = labels >= 0
    whole = np.bincount(labels[held], weights=agreed[held], minlength=int(labels.max(initial=-1)) + 1)
    return labels, agreed / (len(every) - 1), whole / (len(every) * (len(every) - 1))


def table_of(found: Landmarks) -> KeypointTable:
    """A row per picture in which a landmark was found; names are landmark0, landmark1, ..."""
    shown = np.asarray(np.isfinite(found.xy).all(-1))
    rows = np.flatnonzero(shown.sum(1))
    n, on = len(rows), shown[rows]
    return KeypointTable(
        names=tuple(f"landmark{i}" for i in range(found.xy.shape[1])),
        images=found.names,
        image=rows.astype(np.int64),
        individual=np.zeros(n, np.int64),
        xy=np.where(on[..., None], found.xy[rows], 0.0),
        labelled=on,
        visible=on,
        score=np.where(on, found.score[rows], 0.0),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
        sizes=found.sizes,
    )


def flow(found: Landmarks, a: int, b: int) -> ThinPlateSpline:
    """Where every pixel of picture a is in picture b, bent by the landmarks that both show. One that lies far
    from where a similarity of the others puts it is left out: it would fold the picture.

    Raises RequestError, naming the pictures, where they share fewer than LEAST_FOR_FLOW.
    """
    both = np.asarray(np.isfinite(found.xy[[a, b]]).all((0, 2)))
    far = _STRAY * max(found.sizes[b])
    both[both] = _agreeing(found.xy[a, both], found.xy[b, both], far)
    if both.sum() < LEAST_FOR_FLOW:
        raise RequestError(
            f"{found.names[a]} and {found.names[b]} share {int(both.sum())} landmarks that fit; a flow wants "
            f"{LEAST_FOR_FLOW} or more: ask for more landmarks, -k {2 * max(found.xy.shape[1], 5)}"
        )
    one, two = (_tensor(found.xy[i, both]) for i in (a, b))
    return ThinPlateSpline.from_points(one, two)


def bent(found: Landmarks, a: int, b: int, picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Picture a as its landmarks lie in picture b. Raises RequestError as `flow`."""
    a_from_b = flow(found, b, a)
    (h, w), (tall, wide) = found.sizes[b], found.sizes[a]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    at = a_from_b.points(torch.stack([x, y], dim=-1).double().reshape(1, -1, 2))
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].double()
    edge = at.new_tensor([wide - 1, tall - 1])
    inside = ((at > -_ROUNDING) & (at < edge + _ROUNDING)).all(-1)
    shown = sample(image, at) * inside[..., None]
    return shown.reshape(h, w, 3).round().to(torch.uint8).numpy()


def _agreeing(
    one: Float[np.ndarray, "K 2"], two: Float[np.ndarray, "K 2"], far: float
) -> Bool[np.ndarray, " K"]:
    """The most points that one similarity of two of them puts within `far`; all pairs are tried."""
    z, w = one[:, 0] + 1j * one[:, 1], two[:, 0] + 1j * two[:, 1]
    best = np.zeros(len(z), bool)
    for i in range(len(z)):
        for j in range(i):
            if z[i] != z[j]:
                turn = (w[i] - w[j]) / (z[i] - z[j])
                near = np.abs(w[i] + turn * (z - z[i]) - w) < far
                best = near if near.sum() > best.sum() else best
    return best


def _tensor(xy: Float[np.ndarray, "K 2"]) -> Float[Tensor, "1 K 2"]:
    return torch.from_numpy(xy)[None]
