"""The two ways of naming a person's points that most files use: COCO's 17 and OpenPose's BODY_25."""

from asterism.types import Skeleton


def _swap(names: tuple[str, ...], left: str, right: str) -> tuple[int, ...]:
    mirror = {n: right + n.removeprefix(left) for n in names if n.startswith(left)}
    mirror |= {n: left + n.removeprefix(right) for n in names if n.startswith(right)}
    return tuple(names.index(mirror.get(n, n)) for n in names)


_COCO = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
# Edges in the order of person_keypoints_*.json, counted from 0; sigmas of cocoeval.py
COCO17 = Skeleton(
    names=_COCO,
    edges=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    swap=_swap(_COCO, "left_", "right_"),
    sigma=(
        *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
)

_BODY = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip"),
    *("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
# Edges in the order of OpenPose's poseParameters.cpp, which is the order of its part affinity fields.
# Nobody has measured sigmas for its neck and middle hip.
BODY25 = Skeleton(
    names=_BODY,
    edges=(
        *((1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12)),
        *((12, 13), (13, 14), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (2, 17), (5, 18)),
        *((14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
    ),
    swap=_swap(_BODY, "L", "R"),
)
