"""openpose: who the parts belong to is drawn into the picture, as a field of directions along each limb.

A network gives, for every cell of the picture, how likely each part is there and in which direction each limb
runs through it. Peaks of the maps are candidates; the fields say which two of them one limb joins, and from
these pairs people are put together, in a time that hardly depends on how many they are.

Zhe Cao, Gines Hidalgo, Tomas Simon, Shih-En Wei, Yaser Sheikh, OpenPose: Realtime Multi-Person 2D Pose
Estimation using Part Affinity Fields, TPAMI 2019, https://arxiv.org/abs/1812.08008. The presets coco-18 and
mpi are the networks of Cao, Simon, Wei, Sheikh, CVPR 2017; hand-21 and face-70 those of Simon et al., CVPR
2017: maps of one hand or face, and no fields.

    figure 3: network, fields refined before maps   -> nets.openpose.TPAMI
    confidence maps, the largest of everybody's     -> ops.fields.people_maps
    part affinity fields, the mean where they meet  -> ops.fields.limb_fields
    loss at every stage, with W(p)                  -> loss, losses.people.regional
    line integral along a pair                      -> ops.assembly_pairs.find_pairs
    assembly with redundant limbs                   -> ops.assembly.global_greedy

Departs from the paper:
- pairs are ranked by ops.assembly_pairs.agreement instead of the line integral; maps and fields are read at
  the network's own size instead of enlarged 8 times; peaks are placed by a parabola through the logarithm.
- bands of the fields have round ends; maps and fields share one grid (in the authors' code they do not).
- each stage's cost is divided by that of predicting zeros, maps and fields apart; `balance` is not in the
  paper (0 there). The presets of the paper's networks start from random weights, not from VGG-19's.
- the network of the preset small is ours: light stages in the same order, on an HRNet's trunk, normalised.
- Adam with a cosine decay instead of SGD with steps; augmentation is from memory of the authors' code.
- the authors' code ends with rules for feet (they do not count among the 3 parts that a person needs), a
  rescue of very short limbs and a second, bolder pass where nobody was found; those are left out. So are
  several scales.
- convolutions are started for their rectifiers (He et al.) instead of with a fixed spread of 0.01, the
  background at 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.coords import xy_from_uv
from asterism.losses.people import energy_of, regional
from asterism.methods.base import Trainable
from asterism.nets.openpose import TPAMI, Machine, Normalised, Stages, TwoBranch, last_convolution
from asterism.nets.openpose_parts import BODY_25, COCO_18, MPI, published_limbs
from asterism.ops.assembly_pairs import Limbs, limbs_for
from asterism.ops.fields import cell_weight, limb_fields, people_maps, with_background
from asterism.ops.people import people_in, person_in
from asterism.types import Augment, Images, LabelledPeople, People2D, Recipe, Skeleton

Raw = Stages  # fields and maps (with background) of every stage

_TINY = {
    "stem": ((8,), (16,)),
    "features": (16, 16),
    "field_stages": 1,
    "map_stages": 1,
    "blocks": 1,
    "first": (8, 16),
}
# What is built for maps (the background included) and fields.
NETWORKS: dict[str, Callable[[int, int], TPAMI | TwoBranch | Machine | Normalised]] = {
    "tpami": lambda maps, fields: TPAMI(maps, fields),
    "two-branch": lambda maps, fields: TwoBranch(maps, fields),
    "machine": lambda maps, fields: Machine(maps),
    "small": lambda maps, fields: Normalised(maps, fields),
    "tiny": lambda maps, fields: TPAMI(maps, fields, **_TINY),
}


@dataclass(frozen=True)
class OpenPoseConfig:
    """`limbs` join parts; `redundant` numbers those that close circles. Without limbs there is one person.

    `network` is a key of NETWORKS. Sides of `input_size` must be multiples of the stride.
    """

    n_keypoints: int = 25
    input_size: tuple[int, int] = (368, 368)
    limbs: tuple[tuple[int, int], ...] = BODY_25.edges
    redundant: tuple[int, ...] = field(
        default_factory=lambda: tuple(sorted(published_limbs(BODY_25).redundant))
    )
    network: str = "tpami"
    sigma: float = 0.875  # cells: 7 pixels at stride 8
    half_width: float = 1.0  # cells
    balance: float = 0.0  # how many times more a cell counts where the target is 1
    threshold: float = 0.05  # least height of a peak
    most_people: int = 30


class OpenPose(Trainable[Images, Raw, People2D]):
    name = "openpose"
    family = "pose2d"
    paper = "Cao, Hidalgo, Simon, Wei, Sheikh, OpenPose, TPAMI 2019"
    link = "https://arxiv.org/abs/1812.08008"
    Config = OpenPoseConfig
    presets: ClassVar = {
        "paper": OpenPoseConfig(),
        "body-25": OpenPoseConfig(),
        "coco-18": OpenPoseConfig(
            n_keypoints=18,
            limbs=COCO_18.edges,
            redundant=tuple(sorted(published_limbs(COCO_18).redundant)),
            network="two-branch",
        ),
        "mpi": OpenPoseConfig(n_keypoints=15, limbs=MPI.edges, redundant=(), network="two-branch"),
        "hand-21": OpenPoseConfig(n_keypoints=21, limbs=(), redundant=(), network="machine", most_people=1),
        "face-70": OpenPoseConfig(n_keypoints=70, limbs=(), redundant=(), network="machine", most_people=1),
        "small": OpenPoseConfig(
            n_keypoints=17,
            input_size=(192, 192),
            limbs=tuple((k, k + 1) for k in range(16)),  # a chain, until the data say better
            redundant=(),
            network="small",
            sigma=1.0,
            balance=10.0,
            threshold=0.2,
        ),
        "tiny": OpenPoseConfig(
            n_keypoints=3,
            input_size=(32, 32),
            limbs=((0, 1), (1, 2)),
            redundant=(),
            network="tiny",
            sigma=1.5,
            balance=10.0,
            most_people=4,
        ),
    }
    takes = Images
    gives = People2D
    learns_from = LabelledPeople
    recipe = Recipe(
        steps=600_000,
        batch_size=10,
        lr=1e-4,
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
    def config_for(cls, config: OpenPoseConfig, skeleton: Skeleton) -> OpenPoseConfig:
        """Limbs are the skeleton's edges. Raises RequestError where they do not hold all points together."""
        limbs = limbs_for(skeleton, cls.name)
        redundant = tuple(sorted(limbs.redundant))
        return replace(config, n_keypoints=len(skeleton), limbs=limbs.ends, redundant=redundant)

    def __init__(self, config: OpenPoseConfig) -> None:
        super().__init__(config)
        self.net: TPAMI | TwoBranch | Machine | Normalised = NETWORKS[config.network](
            config.n_keypoints + 1, 2 * len(config.limbs)
        )
        self.limbs = Limbs(ends=config.limbs, redundant=frozenset(config.redundant))
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, stack in self.net.named_children():
            stages = stack.children() if name in ("maps", "fields") else ()
            heads = [last_convolution(stage) for stage in stages]
            for head in heads:
                nn.init.normal_(head.weight, std=0.01)
                if name == "maps" and head.bias is not None:
                    nn.init.ones_(head.bias[-1:])  # the background is everywhere

    def forward(self, batch: Images) -> Raw:
        return self.net(batch.image)

    def decode(self, raw: Raw, batch: Images) -> People2D:
        """People of the last stage's maps and fields, best first; rows without anybody are not valid."""
        fields, maps = raw
        config = self.config
        parts = maps[-1][:, :-1].float()
        if fields:
            found = people_in(
                parts, fields[-1].float(), self.limbs, config.most_people, threshold=config.threshold
            )
        else:
            found = person_in(parts, config.most_people, config.threshold)
        uv, score, valid = found
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
        if fields:
            cost = energy_of(of_fields)
            terms |= {
                f"fields {i}": regional(f, of_fields, weight, cost, balance) for i, f in enumerate(fields, 1)
            }
        return terms

    def _targets(
        self, batch: LabelledPeople, size: tuple[int, int]
    ) -> tuple[Float[Tensor, "B K1 h w"], Float[Tensor, "B L2 h w"]]:
        here = batch.labelled & batch.valid[..., None]
        config, stride = self.config, self.net.stride
        maps = people_maps(batch.xy, here, size, stride, config.sigma)
        fields = limb_fields(batch.xy, here, config.limbs, size, stride, config.half_width)
        return with_background(maps), fields
