"""stacked-hourglass: one heatmap per joint, looked at again and again.

A network that goes down to the coarsest scale and up again sees the whole body at once and still answers at a
quarter of the picture's size. Several of them follow each other; each one gives heatmaps, is trained on them,
and hands them to the next, which may correct what does not fit together.

Alejandro Newell, Kaiyu Yang, Jia Deng, Stacked Hourglass Networks for Human Pose Estimation, ECCV 2016,
https://arxiv.org/abs/1603.06937.

    section 3.1, figure 3: hourglass        -> nets.hourglass.Hourglass
    section 3.2, figure 4: residual module  -> nets.hourglass.Residual
    section 3.3, figure 4: stack, feedback  -> nets.hourglass.StackedHourglass
    section 3.3: intermediate supervision   -> loss: one term per stack
    section 3.4: mean squared error against a Gaussian of 1 cell -> codec, loss

Departs from the paper:
- targets are not rounded to cells, and the decoder is DARK's (Zhang et al., CVPR 2020) instead of a quarter
  of a cell towards the higher neighbour: on perfect maps 0.001 pixels of error instead of 1.5. `codec` names
  another one of ops.heatmap.
- the cost of a map is its squared error over pi sigma^2, the energy of the target, so that a map of zeros
  costs 1 whatever the size; the authors take the mean over cells. `balance` is not in the paper (0 there):
  in the first hundreds of steps, on a CPU all of them, plain squared error learns little but to be zero.
- Adam at 1e-3, as in the authors' PyTorch code, instead of RMSProp at 2.5e-4; cosine decay and averaged
  weights instead of one drop of the rate.
- the authors' code counts points that are not labelled as empty maps; here they cost nothing.
- the authors' code registers 1x1 convolutions that are never used (32.8 M parameters for 25.4 M at 8 stacks);
  its test-time flip and its second pass at other scales are left out.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from asterism.losses.heatmap import against_points
from asterism.methods.base import Trainable
from asterism.nets.hourglass import STRIDE
from asterism.nets.hourglass import StackedHourglass as Network
from asterism.ops.heatmap import codec_named
from asterism.types import Augment, Images, Keypoints2D, LabelledImages, Recipe

Raw = list[Float[Tensor, "B K h w"]]  # the maps of every stack


@dataclass(frozen=True)
class StackedHourglassConfig:
    """Sides of `input_size` must be multiples of 4 * 2 ** depth, `width` a multiple of 8."""

    n_keypoints: int = 16
    input_size: tuple[int, int] = (256, 256)
    n_stacks: int = 8
    width: int = 256
    depth: int = 4  # halvings inside an hourglass: 64 cells to 4
    sigma: float = 1.0  # cells
    balance: float = 0.0  # how many times more a cell counts at the target's peak
    codec: str = "dark"  # of ops.heatmap.CODECS


class StackedHourglass(Trainable[Images, Raw, Keypoints2D]):
    name = "stacked-hourglass"
    family = "pose2d"
    paper = "Newell, Yang, Deng, Stacked Hourglass Networks for Human Pose Estimation, ECCV 2016"
    link = "https://arxiv.org/abs/1603.06937"
    Config = StackedHourglassConfig
    presets: ClassVar = {
        "paper": StackedHourglassConfig(),
        "paper-2": StackedHourglassConfig(n_stacks=2),
        "small": StackedHourglassConfig(
            input_size=(128, 128), n_stacks=1, width=128, depth=3, sigma=1.5, balance=40.0
        ),
        "fast": StackedHourglassConfig(
            input_size=(96, 96), n_stacks=1, width=128, depth=3, sigma=1.5, balance=40.0
        ),
        "tiny": StackedHourglassConfig(n_keypoints=3, input_size=(32, 32), n_stacks=2, width=16, depth=2),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = LabelledImages
    recipe = Recipe(
        steps=200_000,
        batch_size=16,
        lr=1e-3,
        schedule="cosine",
        ema=0.99,
        augment=Augment(rotation=30.0, scale=0.25),
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

    def __init__(self, config: StackedHourglassConfig) -> None:
        super().__init__(config)
        self.net = Network(
            config.n_keypoints, n_stacks=config.n_stacks, width=config.width, depth=config.depth
        )
        self.codec = codec_named(config.codec, STRIDE, config.sigma)

    def forward(self, batch: Images) -> Raw:
        return self.net(batch.image)

    def maps_of(self, raw: Raw) -> Float[Tensor, "B K h w"]:
        """What is decoded: the maps of the last stack."""
        return raw[-1]

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """The codec on the last stack's maps; the score is the highest cell."""
        return self.codec.decode(self.maps_of(raw), batch.to_source)

    def loss(self, batch: LabelledImages) -> dict[str, Tensor]:
        maps_by_stack = enumerate(self.forward(batch), start=1)
        given = (batch.xy, batch.labelled, self.config.balance)
        return {f"stack {i}": against_points(self.codec, maps, *given) for i, maps in maps_by_stack}
