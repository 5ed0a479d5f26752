"""The flip test: a detector that looks at every picture twice, plain and mirrored."""

from dataclasses import replace
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from asterism.errors import RequestError
from asterism.methods.base import Method
from asterism.ops.flip import mirrored, mirrored_back
from asterism.ops.heatmap import Codec
from asterism.types import Images, Keypoints2D, Skeleton


@runtime_checkable
class ReadsMaps(Protocol):
    """What a method offers beside the contract for the flip test: the maps it decodes, and their codec."""

    codec: Codec

    def maps_of(self, raw: object) -> Tensor: ...


class Flipped(Method[Images, Tensor, Keypoints2D]):
    """The mean of a detector's maps and of those of the mirrored picture, read by the detector's codec."""

    name = "flipped"
    family = "pose2d"
    paper = link = ""
    Config = object
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"))
    takes = Images
    gives = Keypoints2D

    def __init__(self, detector: Method, swap: tuple[int, ...]) -> None:
        super().__init__(detector.config)
        self.detector = detector
        self.swap = swap

    def forward(self, batch: Images) -> Float[Tensor, "B K h w"]:
        change = None if batch.change is None else mirrored(batch.change)
        plain, other = self._maps(batch), replace(batch, image=mirrored(batch.image), change=change)
        return (plain + mirrored_back(self._maps(other), self.swap, self._reads().codec.mirror_shift)) / 2

    def decode(self, raw: Float[Tensor, "B K h w"], batch: Images) -> Keypoints2D:
        return self._reads().codec.decode(raw, batch.to_source)

    def _maps(self, batch: Images) -> Tensor:
        return self._reads().maps_of(self.detector(batch))

    def _reads(self) -> ReadsMaps:
        assert isinstance(self.detector, ReadsMaps)
        return self.detector


def flipped(method: Method, skeleton: Skeleton | None) -> Flipped:
    """The detector with the flip test. Raises RequestError where there are no maps, or no known swaps."""
    if method.takes is not Images or method.gives is not Keypoints2D or not isinstance(method, ReadsMaps):
        raise RequestError(f"--flip: {method.name} has no heatmaps to average; leave it out")
    if skeleton is None or not skeleton.swap:
        raise RequestError(
            "--flip: the run's skeleton does not say which points a mirror exchanges; train on labels that "
            "do (COCO's flip_pairs, or names with left and right), or leave it out"
        )
    return Flipped(method, skeleton.swap)
