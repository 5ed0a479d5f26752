"""Batches and results: frozen structs of tensors. Nothing computes here.

B batch, V view, T time, P person or object, K keypoint, N M points, C channel, H W pixels, h w cells.
xy is in pixels, a whole number is the CENTRE of a pixel. Three words, never "mask": `labelled` (annotated),
`visible` (seen), `valid` (a real row, not padding). A missing point is a False beside finite numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

S = TypeVar("S", bound="Struct")  # typing.Self cannot be checked by beartype in a decorated method


@dataclass(frozen=True, kw_only=True)
class Struct:
    """A frozen bundle of tensors that share their first axis, the batch."""

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                yield f.name, value

    def __len__(self) -> int:
        return next(len(value) for _, value in self._tensors())

    def __getitem__(self: S, index: int | slice | Tensor) -> S:
        """Rows of the batch. An int keeps the axis (a batch of one), so that every field keeps its rank."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return replace(self, **{name: value[index] for name, value in self._tensors()})

    def to(self: S, device: torch.device | str) -> S:
        return replace(self, **{name: value.to(device) for name, value in self._tensors()})

    def detach(self: S) -> S:
        return replace(self, **{name: value.detach() for name, value in self._tensors()})

    @classmethod
    def cat(cls: type[S], parts: Sequence[S]) -> S:
        """One batch of many. Optional fields must be present in all parts or in none."""
        names = [name for name, _ in parts[0]._tensors()]
        for part in parts[1:]:
            if [name for name, _ in part._tensors()] != names:
                raise ValueError(f"cannot join {cls.__name__} with fields {names} and {part!r}")
        return replace(parts[0], **{n: torch.cat([getattr(p, n) for p in parts]) for n in names})

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {'x'.join(map(str, v.shape))}" for name, v in self._tensors())
        return f"{type(self).__name__}({shapes})"


# ---------------------------------------------------------------------------------------------------- batches


@dataclass(frozen=True, kw_only=True, repr=False)
class Images(Struct):
    """Image crops in [0, 1], RGB, and the affine that takes their pixels to pixels of the source image.

    `change` is how much each pixel differs from the still background, in [0, 1]; None where no background
    is known. It is the data's knowledge (a clip has it, a single photograph does not).
    """

    image: Float[Tensor, "B 3 H W"]
    to_source: Float[Tensor, "B 2 3"]
    change: Float[Tensor, "B 1 H W"] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class LabelledImages(Images):
    """Images with keypoints in NETWORK pixels."""

    xy: Float[Tensor, "B K 2"]
    labelled: Bool[Tensor, "B K"]
    visible: Bool[Tensor, "B K"]


@dataclass(frozen=True, kw_only=True, repr=False)
class LabelledPeople(Images):
    """Whole pictures with the points, in NETWORK pixels, of everybody in them; P rows, padded.

    `counts` is the weight W(p) of each pixel in the loss: 0 where somebody stands whom nobody labelled.
    """

    xy: Float[Tensor, "B P K 2"]
    labelled: Bool[Tensor, "B P K"]
    visible: Bool[Tensor, "B P K"]
    valid: Bool[Tensor, "B P"]
    counts: Float[Tensor, "B 1 H W"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Clips(Struct):
    """T frames of one object in time order, all cut out at the same size."""

    image: Float[Tensor, "B T 3 H W"]
    to_source: Float[Tensor, "B T 2 3"]
    change: Float[Tensor, "B T 1 H W"] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Cameras(Struct):
    """OpenCV cameras. `distortion` is (k1, k2, p1, p2, k3)."""

    intrinsics: Float[Tensor, "B 3 3"]
    cam_from_world: Float[Tensor, "B 3 4"]
    distortion: Float[Tensor, "B 5"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Clouds(Struct):
    """Points of scans and shapes, made unit-free: N rows, padded; rows that are real have `valid` True.

    `to_source` takes them, homogeneous, to the coordinates and the unit of the file. `normals` have length 1.
    """

    points: Float[Tensor, "B N 3"]
    valid: Bool[Tensor, "B N"]
    to_source: Float[Tensor, "B 4 4"]
    normals: Float[Tensor, "B N 3"] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class CloudPairs(Clouds):
    """Two clouds of one thing, `points` and `others`, in one unit; `other_from_this` is the true motion."""

    others: Float[Tensor, "B M 3"]
    others_valid: Bool[Tensor, "B M"]
    other_from_this: Float[Tensor, "B 4 4"]
    others_normals: Float[Tensor, "B M 3"] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class PosedViews(Struct):
    """V pictures of one thing, in [0, 1], RGB, from cameras without distortion whose places are known.

    `cam_from_thing` takes the thing's own coordinates to each camera's, a rotation and a shift; `inside` says
    where the thing is seen.
    """

    image: Float[Tensor, "B V 3 H W"]
    inside: Bool[Tensor, "B V H W"]
    intrinsics: Float[Tensor, "B V 3 3"]
    cam_from_thing: Float[Tensor, "B V 3 4"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Frames(Struct):
    """The similarity in which an object is looked at, one row per object.

    `centre` in source pixels; `scale` is half the side, in source pixels, of the square that is cut out;
    `angle` in radians, the direction of the object's own x axis in the source image (y points down, so a
    positive angle turns clockwise on the screen); `doubt` in [0, 1], 0 sure and 1 a guess.
    """

    centre: Float[Tensor, "B 2"]
    scale: Float[Tensor, " B"]
    angle: Float[Tensor, " B"]
    doubt: Float[Tensor, " B"]


# ---------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, kw_only=True, repr=False)
class Keypoints2D(Struct):
    """K keypoints per image in SOURCE pixels. `score` in [0, 1]; `cov` in squared source pixels."""

    xy: Float[Tensor, "B K 2"]
    score: Float[Tensor, "B K"]
    cov: Float[Tensor, "B K 2 2"] | None = None
    maps: Float[Tensor, "B K h w"] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class People2D(Struct):
    """P people (or animals) per image in SOURCE pixels, padded; rows that are real have `valid` True.

    A point that was not found has score 0.
    """

    xy: Float[Tensor, "B P K 2"]
    score: Float[Tensor, "B P K"]
    valid: Bool[Tensor, "B P"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Keypoints3D(Struct):
    """K keypoints per cloud in the coordinates and the unit of the SOURCE; rows that are real have `valid`.

    `score` is larger for better ones, and in [0, 1] where a method says so; `sigma` is the standard deviation
    of each coordinate, in the source's unit. `descriptor` has length 1 and is near to that of the same place
    in another cloud; zero where a row is not valid. Methods that find the same K points on every shape of a
    kind give them in the same order, and the same rows are valid on all.
    """

    xyz: Float[Tensor, "B K 3"]
    score: Float[Tensor, "B K"]
    valid: Bool[Tensor, "B K"]
    sigma: Float[Tensor, "B K"] | None = None
    descriptor: Float[Tensor, "B K D"] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Features(Struct):
    """N local features per image in SOURCE pixels, the best first; rows that are real have `valid` True.

    `score` is in [0, 1]; `scale` is the standard deviation of the Gaussian in which a feature is seen, in
    source pixels, `angle` where it points to, in radians from x to y. `descriptor` has length 1 and is near
    to that of the same place in another image. All are zero where a row is not valid.
    """

    xy: Float[Tensor, "B N 2"]
    score: Float[Tensor, "B N"]
    valid: Bool[Tensor, "B N"]
    scale: Float[Tensor, "B N"]
    angle: Float[Tensor, "B N"]
    descriptor: Float[Tensor, "B N D"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Views2D(Struct):
    """K named points of a thing in one view each, seen from far away. Where not `valid`, xy is anything.

    Things of several categories have one row of names: those of other categories are not valid, and `part`
    tells which are the category's own, seen or not. `to_source` takes xy to the picture.
    """

    xy: Float[Tensor, "B K 2"]
    valid: Bool[Tensor, "B K"]
    part: Bool[Tensor, "B K"]
    to_source: Float[Tensor, "B 2 3"]


# ------------------------------------------------------------------------------------------- facts about data


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """What the keypoints are called and how they hang together. It belongs to the data, not to a method.

    `edges` are pairs of indices; `swap[k]` is the index of k's mirror image (k itself on the midline);
    `sigma` are the per-point constants of OKS (COCO's k_i / 2), empty when nobody measured them.
    Raises ValueError, naming the field, when one of them does not fit the names.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    swap: tuple[int, ...] = ()
    sigma: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        k = len(self.names)
        if len(set(self.names)) != k:
            twice = sorted({n for n in self.names if self.names.count(n) > 1})
            raise ValueError(f"names: {twice} occur twice; every keypoint needs a name of its own")
        for a, b in self.edges:
            if not (0 <= a < k and 0 <= b < k) or a == b:
                raise ValueError(f"edges: ({a}, {b}) does not join two of the {k} keypoints 0..{k - 1}")
        if self.swap and sorted(self.swap) != list(range(k)):
            raise ValueError(f"swap: {self.swap} is no permutation of the {k} keypoints")
        if any(self.swap[self.swap[i]] != i for i in range(len(self.swap))):
            raise ValueError(f"swap: {self.swap} is not its own inverse; mirroring twice must change nothing")
        if self.sigma and (len(self.sigma) != k or min(self.sigma) <= 0):
            raise ValueError(f"sigma: wanted {k} positive numbers, got {self.sigma}")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of a training sample, as a paper's table gives them. Zero means none.

    rotation in degrees (uniform in +-), scale as a fraction (uniform in 1 +- scale), shift as a fraction of
    the crop, brightness and contrast as fractions, flip as a probability (needs the skeleton's swap).
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    flip: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A paper's training table as data: what engine.train does when the user says nothing else."""

    steps: int
    batch_size: int
    optimiser: str = "adam"  # adam, adamw, sgd (momentum 0.9) or rmsprop
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"  # constant, cosine (to zero) or steps (times 0.1 at `milestones`)
    milestones: tuple[float, ...] = ()  # as fractions of the run
    warmup: float = 0.0  # fraction of the run over which the rate rises from zero
    clip: float = 0.0  # largest gradient norm; 0 is no clipping
    ema: float = 0.0  # decay of the averaged weights that are saved as best; 0 is none
    augment: Augment = field(default_factory=Augment)
