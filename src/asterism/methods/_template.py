"""brightest-spot: a title in one line, the name of the method first.

This paragraph is the idea, in the words of somebody who has understood it; `asterism methods` prints it.
Here: K channels are learned mixtures of the picture's colours; a point is the mean of a channel's softmax.

Authors, title, venue and year; a link. This file is not a paper's: it is the smallest method that keeps the
contract, to be copied to methods/<family>/<name>.py and overwritten from top to bottom.
https://www.rfc-editor.org/rfc/rfc2606

    Eq. 1: score of a pixel, a mixture of its colours -> forward
    Eq. 2: point, the mean of the softmax             -> decode
    Eq. 3: squared distance to the label              -> loss

Departs from the paper:
- one line for every difference between the text, the authors' code and this file that somebody who compares
  numbers would want to know. "Nothing known" is an answer, if somebody has looked.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.methods.base import Trainable
from asterism.ops.heatmap import soft_argmax
from asterism.types import Images, Keypoints2D, LabelledImages, Recipe

# What forward hands to decode; it never leaves this file. A dataclass when it is more than one tensor.
Raw = Tensor


@dataclass(frozen=True)
class BrightestSpotConfig:
    """Each field is a symbol of the paper, its default the paper's value. The first two are everybody's."""

    n_keypoints: int = 4
    input_size: tuple[int, int] = (64, 64)
    beta: float = 10.0  # sharpness of the softmax


class BrightestSpot(Trainable[Images, Raw, Keypoints2D]):
    name = "brightest-spot"
    family = "template"
    paper = "Nobody, A Method to Copy, nowhere, never"
    link = "https://www.rfc-editor.org/rfc/rfc2606"
    Config = BrightestSpotConfig
    # "paper" is what was published, "small" trains on a CPU in minutes, "tiny" is for the contract tests.
    presets: ClassVar = {
        "paper": BrightestSpotConfig(),
        "small": BrightestSpotConfig(),
        "tiny": BrightestSpotConfig(n_keypoints=3, input_size=(32, 32)),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = LabelledImages
    recipe = Recipe(steps=1000, batch_size=16, lr=1e-2)

    def __init__(self, config: BrightestSpotConfig) -> None:
        super().__init__(config)
        self.mixture = nn.Conv2d(3, config.n_keypoints, 1, bias=False)

    def forward(self, batch: Images) -> Raw:
        return self.mixture(batch.image)

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """Coordinates leave in the source image; the score is the highest probability."""
        xy, _, prob = soft_argmax(raw, self.config.beta, 1)
        score = prob.flatten(2).amax(-1).clamp(0, 1)
        return Keypoints2D(xy=affine.apply(batch.to_source, xy), score=score, maps=prob)

    def loss(self, batch: LabelledImages) -> dict[str, Tensor]:
        return {"distance": self._distance(batch)}

    def _distance(self, batch: LabelledImages) -> Float[Tensor, ""]:
        xy, _, _ = soft_argmax(self.forward(batch), self.config.beta, 1)
        # Select before arithmetic: 0 * NaN is NaN in a gradient, and a missing label may be NaN.
        gap = xy[batch.labelled] - batch.xy[batch.labelled]
        half = min(self.config.input_size) / 2
        return (gap / half).square().sum(-1).mean()
