"""What the channels of OpenPose's published networks mean: parts, pairs, and the fields' channels.

Facts of poseParameters.cpp (names, POSE_BODY_PART_PAIRS, POSE_MAP_INDEX); the pairs stand here in the order
of the channels, so that limb l of ours is channels 2 l and 2 l + 1 of theirs. Maps come in the order of the
parts with the background last.
"""

from asterism.ops.assembly_pairs import Limbs
from asterism.types import Skeleton


def _swap(names: tuple[str, ...]) -> tuple[int, ...]:
    """R... is L...'s mirror image."""
    mirror = {n: f"{'L' if n[0] == 'R' else 'R'}{n[1:]}" for n in names if n[0] in "RL"}
    return tuple(names.index(mirror.get(n, n)) for n in names)


_ARMS = ("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist")
_LEGS = ("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle")
_EYES = ("REye", "LEye", "REar", "LEar")
_FEET = ("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel")
_BODY_25 = (*_ARMS, "MidHip", *_LEGS, *_EYES, *_FEET)
_COCO_18 = (*_ARMS, *_LEGS, *_EYES)
_MPI = ("Head", *_ARMS[1:], *_LEGS, "Chest")

BODY_25 = Skeleton(
    names=_BODY_25,
    edges=(
        *((1, 8), (9, 10), (10, 11), (8, 9), (8, 12), (12, 13), (13, 14), (1, 2), (2, 3), (3, 4), (2, 17)),
        *((1, 5), (5, 6), (6, 7), (5, 18), (1, 0), (0, 15), (0, 16), (15, 17), (16, 18)),
        *((14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
    ),
    swap=_swap(_BODY_25),
)
COCO_18 = Skeleton(
    names=_COCO_18,
    edges=(
        *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 2), (2, 3), (3, 4), (2, 16), (1, 5)),
        *((5, 6), (6, 7), (5, 17), (1, 0), (0, 14), (0, 15), (14, 16), (15, 17)),
    ),
    swap=_swap(_COCO_18),
)
MPI = Skeleton(
    names=_MPI,
    edges=(
        *((0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 14), (14, 8), (8, 9), (9, 10)),
        *((14, 11), (11, 12), (12, 13)),
    ),
    swap=_swap(_MPI),
)


def published_limbs(skeleton: Skeleton) -> Limbs:
    """Limbs of one of these skeletons; redundant are, as the authors have it, those from shoulder to ear."""
    ends = {"RShoulder": "REar", "LShoulder": "LEar"}
    redundant = {
        l for l, (a, b) in enumerate(skeleton.edges) if ends.get(skeleton.names[a]) == skeleton.names[b]
    }
    return Limbs(ends=skeleton.edges, redundant=frozenset(redundant))
