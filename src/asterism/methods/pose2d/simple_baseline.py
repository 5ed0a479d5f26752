"""simple-baseline: a classifier's network, and three layers that enlarge what it saw.

A residual network shrinks the picture to a 32nd; three transposed convolutions bring it back to a quarter,
where each joint has its heatmap. Nothing else: it is what more elaborate networks should be compared with.

Bin Xiao, Haiping Wu, Yichen Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018,
https://arxiv.org/abs/1804.06208.

    section 2: residual network, deconvolutions -> nets.resnet.DeconvolvedResNet
    section 2: mean squared error of heatmaps   -> loss
    section 3: tracking                         -> not here

Departs from the paper:
- targets are not rounded to cells, and the decoder is DARK's (Zhang et al., CVPR 2020) instead of a quarter
  of a cell towards the higher neighbour. `codec` names another one of ops.heatmap: "rounded" is that of the
  authors' weights.
- the cost of a map is its squared error over pi sigma^2, the energy of the target, instead of half the mean
  over cells: another scale of the same cost. `balance` is not in the paper (0 there).
- the authors start from weights learned on ImageNet; here every convolution starts from a normal of 0.001, as
  theirs do without such weights.
- the authors feed blue, green, red to mean and deviation of red, green, blue; here that is `colours`
  (2, 1, 0), for their weights alone.
- rotation and scale are uniform, not cut normals. The test-time flip is not part of decode: `--flip` adds it.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from asterism.losses.heatmap import against_points
from asterism.methods.base import Trainable
from asterism.nets.resnet import STRIDE, DeconvolvedResNet
from asterism.ops.colour import standardised
from asterism.ops.heatmap import codec_named
from asterism.types import Augment, Images, Keypoints2D, LabelledImages, Recipe

Raw = Float[Tensor, "B K h w"]  # the maps


@dataclass(frozen=True)
class SimpleBaselineConfig:
    """The defaults are ResNet-50. Sides of `input_size` must be multiples of 32."""

    n_keypoints: int = 17
    input_size: tuple[int, int] = (256, 192)
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)  # bottlenecks at a 4th, 8th, 16th and 32nd of the size
    width: int = 64
    up_width: int = 256  # of the transposed convolutions
    sigma: float = 2.0  # cells
    balance: float = 0.0  # how many times more a cell counts at the target's peak
    codec: str = "dark"  # of ops.heatmap.CODECS
    colours: tuple[int, int, int] = (0, 1, 2)  # of R, G, B, what the network's channels are; 2, 1, 0 is BGR


class SimpleBaseline(Trainable[Images, Raw, Keypoints2D]):
    name = "simple-baseline"
    family = "pose2d"
    paper = "Xiao, Wu, Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018"
    link = "https://arxiv.org/abs/1804.06208"
    Config = SimpleBaselineConfig
    presets: ClassVar = {
        "paper": SimpleBaselineConfig(),
        "small": SimpleBaselineConfig(
            input_size=(128, 128), blocks=(1, 1, 2, 1), width=32, up_width=96, sigma=1.5, balance=40.0
        ),
        "fast": SimpleBaselineConfig(
            input_size=(96, 96), blocks=(1, 1, 2, 1), width=32, up_width=96, sigma=1.5, balance=40.0
        ),
        "tiny": SimpleBaselineConfig(
            n_keypoints=3, input_size=(32, 32), blocks=(1, 1, 1, 1), width=4, up_width=8, sigma=1.0
        ),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = LabelledImages
    recipe = Recipe(
        steps=655_000,  # 140 epochs of 150,000 people
        batch_size=32,
        lr=1e-3,
        schedule="steps",
        milestones=(90 / 140, 120 / 140),
        augment=Augment(rotation=40.0, scale=0.3, flip=0.5),
    )
    # A quarter of an hour on two cores: what is never seen at test time is not worth learning there.
    _short = Recipe(
        steps=3000,
        batch_size=16,
        lr=2e-3,
        schedule="cosine",
        warmup=0.02,
        clip=5.0,
        ema=0.99,
        augment=Augment(rotation=10.0, scale=0.1),
    )
    recipes: ClassVar = {"small": _short, "fast": _short}

    def __init__(self, config: SimpleBaselineConfig) -> None:
        super().__init__(config)
        self.net = DeconvolvedResNet(
            config.n_keypoints, blocks=config.blocks, width=config.width, up_width=config.up_width
        )
        self.codec = codec_named(config.codec, STRIDE, config.sigma)

    def forward(self, batch: Images) -> Raw:
        return self.net(standardised(batch.image[:, list(self.config.colours)]))

    def maps_of(self, raw: Raw) -> Float[Tensor, "B K h w"]:
        """What is decoded."""
        return raw

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """The codec on the maps; the score is the highest cell."""
        return self.codec.decode(raw, batch.to_source)

    def loss(self, batch: LabelledImages) -> dict[str, Tensor]:
        maps = self.forward(batch)
        cost = against_points(self.codec, maps, batch.xy, batch.labelled, self.config.balance)
        return {"maps": cost}
