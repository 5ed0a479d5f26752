"""People who move through random poses, in the world of a rig: metres, y up, the floor at y = 0.

Between two key poses every bone turns on the shortest way and keeps its length; head, chest and heading turn
at a steady rate, and the lowest joint stays on the floor.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from asterism.data.worlds.figure_body import face_of
from asterism.data.worlds.figure_pose import Pose, random_pose

_KEY = 10  # moments from one key pose to the next
_ROOM = 0.3  # metres a person strays from the middle of the rig
_TURN = 0.9  # radians (standard deviation) between two headings

# What each joint hangs on, in an order in which a joint follows what it hangs on
_LIMB = {"elbow": "shoulder", "wrist": "elbow", "hand": "wrist", "knee": "hip", "ankle": "knee"}
_LIMB |= {"heel": "ankle", "toe": "heel", "big_toe": "toe", "small_toe": "toe"}
_PARENT = {"neck": "mid_hip", "head": "neck"}
for _side in ("left", "right"):
    _PARENT |= {f"{_side}_shoulder": "neck", f"{_side}_hip": "mid_hip"}
    _PARENT |= {f"{_side}_{joint}": f"{_side}_{parent}" for joint, parent in _LIMB.items()}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A pose in the world: joints and face in metres; axes of head and chest; the stature in metres."""

    pose: Pose
    stature: float


def sequence(seed: int, subject: int, moments: int) -> list[Placed]:
    """What one person does in `moments`; the same for the same seed."""
    rng = np.random.Generator(np.random.PCG64([seed, 2, subject]))
    n = -(-moments // _KEY) + 1
    keys = [random_pose(rng, lambda _: np.eye(3)) for _ in range(n)]
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(rng.normal(0, _TURN, n))
    place = rng.uniform(-_ROOM, _ROOM, (n, 2))
    stature = float(rng.uniform(1.5, 1.9))
    out = []
    for t in range(moments):
        before, part = divmod(t, _KEY)
        share = part / _KEY
        share = share * share * (3 - 2 * share)  # a key pose is come to and left slowly
        pose = between(keys[before], keys[before + 1], share)
        yaw, (x, z) = (v[before] + share * (v[before + 1] - v[before]) for v in (heading, place))
        out.append(_placed(pose, float(yaw), float(x), float(z), stature))
    return out


def between(a: Pose, b: Pose, share: float) -> Pose:
    """The pose that is `share` of the way from a to b."""
    joints = {"mid_hip": (1 - share) * a.joints["mid_hip"] + share * b.joints["mid_hip"]}
    for name, parent in _PARENT.items():
        old, new = (pose.joints[name] - pose.joints[parent] for pose in (a, b))
        joints[name] = joints[parent] + _turned(old, new, share)
    return Pose(joints=joints, head=_slerp(a.head, b.head, share), chest=_slerp(a.chest, b.chest, share))


def _turned(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """From one bone to another along the great circle; opposite bones pass through any side."""
    long_a, long_b = np.linalg.norm(a), np.linalg.norm(b)
    from_a, to_b = a / long_a, b / long_b
    angle = np.arccos(np.clip(from_a @ to_b, -1, 1))
    across = to_b - (from_a @ to_b) * from_a
    size = np.linalg.norm(across)
    if size < 1e-6:
        across = np.cross(from_a, np.eye(3)[np.argmin(np.abs(from_a))])
        size = np.linalg.norm(across)
    direction = np.cos(share * angle) * from_a + np.sin(share * angle) * across / size
    return ((1 - share) * long_a + share * long_b) * direction


def _slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return Slerp([0, 1], Rotation.from_matrix(np.stack([a, b])))(share).as_matrix()


def _placed(pose: Pose, yaw: float, x: float, z: float, stature: float) -> Placed:
    joints = pose.joints | face_of(pose)
    floor = min(float(at[1]) for at in joints.values())
    turn: Float[np.ndarray, "3 3"] = Rotation.from_euler("y", yaw).as_matrix()
    shift = np.array([x, -stature * floor, z])
    moved = {name: shift + stature * (turn @ at) for name, at in joints.items()}
    return Placed(pose=Pose(joints=moved, head=turn @ pose.head, chest=turn @ pose.chest), stature=stature)
