"""lightweight-openpose: part affinity fields on a network small enough for a processor.

The maps and fields of OpenPose from a MobileNet whose last strides are dilations instead, one first stage and
one refinement stage in which maps and fields share their trunk. What OpenPose spends on 7x7 convolutions is
done by 1x1, 3x3 and dilated 3x3 ones: 4.1 million parameters instead of 52.

Daniil Osokin, Real-time 2D Multi-Person Pose Estimation on CPU: Lightweight OpenPose, ICPRAM 2019,
https://arxiv.org/abs/1811.12004.

    section 3.2: backbone, dilated MobileNet        -> nets.lightweight_openpose.MOBILENET
    section 3.3: one prediction branch, refinement  -> nets.lightweight_openpose.LightweightOpenPose
    loss at every stage, with W(p)                  -> loss, losses.people.regional
    line integrals, assembly                        -> ops.people.people_in

Departs from the paper:
- maps of several people are the largest of their Gaussians and fields their mean, as in OpenPose; the
  author's code sums and clamps the one and overwrites the other.
- pairs are ranked by ops.assembly_pairs.agreement, and people assembled over all limbs at once, with the
  redundant limbs; maps and fields are read at the network's own size instead of enlarged.
- each stage's cost is divided by that of predicting zeros, maps and fields apart, where the author's is half
  the sum over the batch's size; `balance` is not in the paper (0 there). Recipe and augmentation are not
  the author's either.
- it starts from random weights, not from a MobileNet that has seen ImageNet; one learning rate for all.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.coords import xy_from_uv
from asterism.losses.people import energy_of, regional
from asterism.methods.base import Trainable
from asterism.nets.lightweight_openpose import MOBILENET, LightweightOpenPose
from asterism.nets.openpose import Stages, last_convolution
from asterism.nets.openpose_parts import COCO_18, published_limbs
from asterism.ops.assembly_pairs import Limbs, limbs_for
from asterism.ops.fields import cell_weight, limb_fields, people_maps, with_background
from asterism.ops.people import people_in
from asterism.types import Augment, Images, LabelledPeople, People2D, Recipe, Skeleton

Raw = Stages  # fields and maps (with background) of every stage

_SMALL = ((32, 1, 1), (48, 2, 1), (64, 1, 1), (96, 1, 2), (96, 1, 2))  # stride 4
_TINY = ((16, 2, 1), (16, 1, 2))


@dataclass(frozen=True)
class LightweightOpenPoseConfig:
    """`limbs` join parts; `redundant` numbers those that close circles.

    `backbone` has (width, stride, dilation) of each block behind a first 3x3 of width `stem` and stride 2;
    sides of `input_size` must be multiples of the whole stride.
    """

    n_keypoints: int = 18
    input_size: tuple[int, int] = (368, 368)
    limbs: tuple[tuple[int, int], ...] = COCO_18.edges
    redundant: tuple[int, ...] = field(
        default_factory=lambda: tuple(sorted(published_limbs(COCO_18).redundant))
    )
    refinements: int = 1
    backbone: tuple[tuple[int, int, int], ...] = MOBILENET
    stem: int = 32
    width: int = 128
    head: int = 512
    sigma: float = 0.875  # cells: 7 pixels at stride 8
    half_width: float = 1.0  # cells
    balance: float = 0.0  # how many times more a cell counts where the target is 1
    threshold: float = 0.05  # least height of a peak
    most_people: int = 30


class LightweightOpenPoseMethod(Trainable[Images, Raw, People2D]):
    name = "lightweight-openpose"
    family = "pose2d"
    paper = "Osokin, Real-time 2D Multi-Person Pose Estimation on CPU: Lightweight OpenPose, ICPRAM 2019"
    link = "https://arxiv.org/abs/1811.12004"
    Config = LightweightOpenPoseConfig
    presets: ClassVar = {
        "paper": LightweightOpenPoseConfig(),
        "small": LightweightOpenPoseConfig(
            n_keypoints=17,
            input_size=(160, 160),
            limbs=tuple((k, k + 1) for k in range(16)),  # a chain, until the data say better
            redundant=(),
            backbone=_SMALL,
            stem=16,
            width=64,
            head=96,
            sigma=1.0,
            balance=10.0,
        ),
        "tiny": LightweightOpenPoseConfig(
            n_keypoints=3,
            input_size=(32, 32),
            limbs=((0, 1), (1, 2)),
            redundant=(),
            backbone=_TINY,
            stem=8,
            width=16,
            head=16,
            sigma=1.5,
            balance=10.0,
            most_people=4,
        ),
    }
    takes = Images
    gives = People2D
    learns_from = LabelledPeople
    recipe = Recipe(
        steps=200_000,
        batch_size=80,
        lr=4e-5,
        schedule="cosine",
        ema=0.999,
        augment=Augment(rotation=40.0, scale=0.4, shift=0.1, flip=0.5),
    )
    recipes: ClassVar = {
        "small": Recipe(
            steps=4000,
            batch_size=8,
            lr=2e-3,
            schedule="cosine",
            warmup=0.03,
            clip=5.0,
            ema=0.99,
            augment=Augment(rotation=10.0, scale=0.15, flip=0.5),
        )
    }

    @classmethod
    def config_for(cls, config: LightweightOpenPoseConfig, skeleton: Skeleton) -> LightweightOpenPoseConfig:
        """Limbs are the skeleton's edges. Raises RequestError where they do not hold all points together."""
        limbs = limbs_for(skeleton, cls.name)
        redundant = tuple(sorted(limbs.redundant))
        return replace(config, n_keypoints=len(skeleton), limbs=limbs.ends, redundant=redundant)

    def __init__(self, config: LightweightOpenPoseConfig) -> None:
        super().__init__(config)
        self.net = LightweightOpenPose(
            config.n_keypoints + 1,
            2 * len(config.limbs),
            refinements=config.refinements,
            backbone=config.backbone,
            stem=config.stem,
            width=config.width,
            head=config.head,
        )
        self.limbs = Limbs(ends=config.limbs, redundant=frozenset(config.redundant))
        for name, stack in self.net.named_modules():
            if name.rpartition(".")[2] in ("maps", "fields"):
                head = last_convolution(stack)
                nn.init.normal_(head.weight, std=0.01)
                assert head.bias is not None
                nn.init.zeros_(head.bias)
                if name.endswith("maps"):
                    nn.init.ones_(head.bias[-1:])  # the background is everywhere

    def forward(self, batch: Images) -> Raw:
        return self.net(batch.image)

    def decode(self, raw: Raw, batch: Images) -> People2D:
        """People of the last stage's maps and fields, best first; rows without anybody are not valid."""
        fields, maps = raw
        config = self.config
        parts = maps[-1][:, :-1].float()
        uv, score, valid = people_in(
            parts, fields[-1].float(), self.limbs, config.most_people, threshold=config.threshold
        )
        xy = xy_from_uv(uv, self.net.stride).flatten(1, 2)
        xy = affine.apply(batch.to_source, xy).unflatten(1, uv.shape[1:3])
        return People2D(xy=xy, score=score, valid=valid)

    def loss(self, batch: LabelledPeople) -> dict[str, Tensor]:
        fields, maps = self.forward(batch)
        of_maps, of_fields = self._targets(batch, (maps[0].shape[2], maps[0].shape[3]))
        weight = cell_weight(batch.counts, (maps[0].shape[2], maps[0].shape[3]))
        balance = self.config.balance
        cost = energy_of(of_maps[:, :-1])
        terms = {f"maps {i}": regional(m, of_maps, weight, cost, balance) for i, m in enumerate(maps, 1)}
        cost = energy_of(of_fields)
        return terms | {
            f"fields {i}": regional(f, of_fields, weight, cost, balance) for i, f in enumerate(fields, 1)
        }

    def _targets(
        self, batch: LabelledPeople, size: tuple[int, int]
    ) -> tuple[Float[Tensor, "B K1 h w"], Float[Tensor, "B L2 h w"]]:
        here = batch.labelled & batch.valid[..., None]
        config, stride = self.config, self.net.stride
        maps = people_maps(batch.xy, here, size, stride, config.sigma)
        fields = limb_fields(batch.xy, here, config.limbs, size, stride, config.half_width)
        return with_background(maps), fields
