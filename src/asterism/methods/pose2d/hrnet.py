"""hrnet: the high resolution is kept from the first layer to the last.

Other networks shrink the picture and then enlarge what is left. Here a map at a quarter of the picture's size
runs through the whole network, lower resolutions run beside it, and all of them exchange what they know again
and again: the high one knows where exactly, the low ones know what it is.

Ke Sun, Bin Xiao, Dong Liu, Jingdong Wang, Deep High-Resolution Representation Learning for Human Pose
Estimation, CVPR 2019, https://arxiv.org/abs/1902.09212.

    section 3: parallel resolutions, exchange units -> nets.hrnet.Round, Exchange
    section 3: stages, the last high resolution     -> nets.hrnet.HighResolution
    section 3: heatmap estimation                   -> decode, loss
    section 4: ablation of the exchanges            -> presets small-across (between stages and in the end)
                                                       and small-once (in the end only)

Departs from the paper:
- targets are not rounded to cells, and the decoder is DARK's (Zhang et al., CVPR 2020) instead of a quarter
  of a cell towards the higher neighbour. `codec` names another one of ops.heatmap: "rounded" is that of the
  authors' weights.
- the cost of a map is its squared error over pi sigma^2, the energy of the target, instead of half the mean
  over cells: another scale of the same cost. `balance` is not in the paper (0 there).
- the authors start from weights learned on ImageNet; here every convolution starts from a normal of 0.001, as
  theirs do without such weights; the small presets begin with He's (`by_fan`), because a short run learns
  more from there: 14.1 for 14.9 pixels after 300 steps on generated people, one seed.
- no cropping to half bodies as augmentation; rotation and scale are uniform, not cut normals. The test-time
  flip is not part of decode: `--flip` adds it.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from asterism.losses.heatmap import against_points
from asterism.methods.base import Trainable
from asterism.nets.hrnet import STRIDE, HighResolution
from asterism.ops.colour import standardised
from asterism.ops.heatmap import codec_named
from asterism.types import Augment, Images, Keypoints2D, LabelledImages, Recipe

Raw = Float[Tensor, "B K h w"]  # the maps


@dataclass(frozen=True)
class HRNetConfig:
    """Sides of `input_size` must be multiples of 4 * 2 ** len(rounds)."""

    n_keypoints: int = 17
    input_size: tuple[int, int] = (256, 192)
    width: int = 32  # of the high resolution; each lower one is twice as wide
    rounds: tuple[int, ...] = (1, 4, 3)  # of the stages after the first: so many resolutions, and one more
    exchanges: tuple[int, ...] | None = None  # the rounds that end in an exchange; None is every one
    blocks: int = 4  # on each resolution in a round
    bottlenecks: int = 4  # of the first stage
    stem: int = 64
    by_fan: bool = False  # the first weights, but for the head's: He's, or normals of 0.001 as the authors'
    sigma: float = 2.0  # cells
    balance: float = 0.0  # how many times more a cell counts at the target's peak
    codec: str = "dark"  # of ops.heatmap.CODECS


_SMALL = HRNetConfig(
    input_size=(128, 128),
    width=24,
    rounds=(1, 2, 1),
    blocks=2,
    bottlenecks=2,
    stem=32,
    by_fan=True,
    sigma=1.5,
    balance=40.0,
)


class HRNet(Trainable[Images, Raw, Keypoints2D]):
    name = "hrnet"
    family = "pose2d"
    paper = (
        "Sun, Xiao, Liu, Wang, Deep High-Resolution Representation Learning for Human Pose Estimation, "
        "CVPR 2019"
    )
    link = "https://arxiv.org/abs/1902.09212"
    Config = HRNetConfig
    presets: ClassVar = {
        "paper": HRNetConfig(),
        "w48": HRNetConfig(width=48),
        "small": _SMALL,
        "small-across": replace(_SMALL, exchanges=(0, 2, 3)),
        "small-once": replace(_SMALL, exchanges=(3,)),
        "fast": replace(_SMALL, input_size=(96, 96)),
        "tiny": HRNetConfig(
            n_keypoints=3,
            input_size=(32, 32),
            width=8,
            rounds=(1, 1),
            blocks=1,
            bottlenecks=1,
            stem=8,
            sigma=1.0,
        ),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = LabelledImages
    recipe = Recipe(
        steps=246_000,  # 210 epochs of 150,000 people in batches of 4 GPUs with 32 each
        batch_size=128,
        lr=1e-3,
        schedule="steps",
        milestones=(170 / 210, 200 / 210),
        augment=Augment(rotation=45.0, scale=0.35, flip=0.5),
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
    recipes: ClassVar = dict.fromkeys(("small", "small-across", "small-once", "fast"), _short)

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__(config)
        self.net = HighResolution(
            config.n_keypoints,
            width=config.width,
            rounds=config.rounds,
            exchanges=config.exchanges,
            blocks=config.blocks,
            bottlenecks=config.bottlenecks,
            stem=config.stem,
            by_fan=config.by_fan,
        )
        self.codec = codec_named(config.codec, STRIDE, config.sigma)

    def forward(self, batch: Images) -> Raw:
        return self.net(standardised(batch.image))

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
