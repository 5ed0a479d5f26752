"""Poses of a person in three dimensions, by random joint angles within human limits.

Lengths are in statures. Body axes are (left, up, forward); camera axes are x right, y down, z away, so a
person who faces the camera has his left at +x. The middle of the hips is the origin.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, "3"]

# Shares of stature after Winter, Biomechanics and Motor Control of Human Movement, fig. 4.1; widths are of
# the joints, a hand ends at its knuckles and a foot at its toe joints
UPPER_ARM, FOREARM, HAND = 0.186, 0.146, 0.06
THIGH, SHANK, FOOT = 0.245, 0.246, 0.12
SPINE, SHOULDER, HIP = 0.288, 0.115, 0.065  # hips to the base of the neck; half widths between the joints
_FRONT = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # camera_from_body of a person who faces the camera


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Joints by name in camera axes, and the axes (columns left, up, forward) of head and chest."""

    joints: dict[str, Vector]
    head: Float[np.ndarray, "3 3"]
    chest: Float[np.ndarray, "3 3"]


def _turn(axis: int, angle: float) -> Float[np.ndarray, "3 3"]:
    """A rotation by the right hand about one of the three axes."""
    c, s = np.cos(angle), np.sin(angle)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out = np.eye(3)
    out[a, a] = out[b, b] = c
    out[b, a], out[a, b] = s, -s
    return out


def _view(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """camera_from_body: mostly from the front, any direction at times; a tilted camera; lying down rarely."""
    yaw = rng.normal(0, 0.7) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    roll = rng.choice(
        [rng.normal(0, 0.1), rng.uniform(-0.6, 0.6), rng.choice([-1, 1]) * rng.normal(1.57, 0.2)],
        p=[0.83, 0.12, 0.05],
    )
    return _turn(2, roll) @ _turn(0, rng.normal(0.06, 0.12)) @ _FRONT @ _turn(1, yaw)


def _arm(rng: np.random.Generator, kind: str, side: int) -> tuple[Vector, Vector]:
    """Directions of upper arm and forearm in the axes of the chest."""
    habit = rng.choice(
        ["hang", "bent", "reach", "up"], p=[0.1, 0.2, 0.3, 0.4] if kind == "reach" else [0.5, 0.3, 0.13, 0.07]
    )
    raise_, bend = {
        "hang": (rng.uniform(0.05, 0.35), rng.uniform(0.05, 0.6)),
        "bent": (rng.uniform(0.15, 0.9), rng.uniform(1.0, 2.3)),
        "reach": (rng.uniform(0.9, 1.7), rng.uniform(0.0, 1.2)),
        "up": (rng.uniform(1.8, 2.9), rng.uniform(0.0, 1.6)),
    }[habit]
    swing = rng.uniform(-0.3, 1.5)  # 0 sideways, a right angle forward
    if habit == "hang" and kind == "walk":
        swing = rng.choice([-1.1, 1.4])
    out = np.array([float(side), 0, 0])
    upper = np.array([0, -np.cos(raise_), 0]) + np.sin(raise_) * (np.cos(swing) * out + [0, 0, np.sin(swing)])
    # An elbow bends the hand forward, up, and towards the middle
    hinge = np.array([-0.4 * side, 0.5, 1.0]) + rng.normal(0, 0.3, 3)
    hinge = hinge - (hinge @ upper) * upper
    return upper, np.cos(bend) * upper + np.sin(bend) * hinge / np.linalg.norm(hinge)


def _leg(rng: np.random.Generator, kind: str, side: int, step: float) -> tuple[Vector, Vector, Vector]:
    """Directions of thigh, shank and foot in body axes; a knee bends backward only."""
    flexed, bend = {
        "sit": (rng.uniform(1.2, 1.75), rng.uniform(1.1, 1.9)),
        "crouch": (rng.uniform(1.2, 2.0), rng.uniform(1.6, 2.4)),
        "walk": (step * rng.uniform(0.25, 0.6), rng.uniform(0.05, 0.35) + (step < 0) * rng.uniform(0, 0.7)),
    }.get(kind, (rng.normal(0.03, 0.08), rng.uniform(0.0, 0.15)))
    spread = side * abs(rng.normal(0.05, 0.22 if kind in ("sit", "crouch") else 0.09))

    def along(angle: float) -> Vector:
        flat = np.array([spread, -np.cos(angle), np.sin(angle)])
        return flat / np.linalg.norm(flat)

    return along(flexed), along(flexed - bend), along(flexed - bend + np.pi / 2 - rng.uniform(0, 0.4))


View = Callable[[np.random.Generator], Float[np.ndarray, "3 3"]]  # draws a camera_from_body


def random_pose(rng: np.random.Generator, view: View = _view) -> Pose:
    """Standing, walking, reaching, sitting or crouching, seen from anywhere or as `view` draws it."""
    kind = str(rng.choice(["stand", "walk", "reach", "sit", "crouch"], p=[0.3, 0.25, 0.25, 0.14, 0.06]))
    camera = view(rng)
    lean = {"sit": rng.normal(0.1, 0.2), "crouch": rng.uniform(0.2, 0.7)}.get(kind, rng.normal(0.05, 0.1))
    chest = _turn(0, lean) @ _turn(2, rng.normal(0, 0.07)) @ _turn(1, rng.normal(0, 0.18))
    nod = (
        _turn(1, rng.normal(0, 0.35))
        @ _turn(0, rng.normal(0.05 - lean / 2, 0.18))
        @ _turn(2, rng.normal(0, 0.1))
    )
    head = chest @ nod
    joints = {"mid_hip": np.zeros(3), "neck": chest[:, 1] * SPINE}
    joints["head"] = joints["neck"] + 0.05 * chest[:, 1] + 0.075 * head[:, 1] + 0.012 * chest[:, 2]
    step = rng.choice([-1.0, 1.0])
    for name, side in (("left", 1), ("right", -1)):
        upper, fore = (chest @ d for d in _arm(rng, kind, side))
        shoulder = joints["neck"] + chest @ [side * SHOULDER, -0.012 + 0.04 * max(upper[1], 0), 0]
        elbow = shoulder + UPPER_ARM * upper
        wrist = elbow + FOREARM * fore
        thigh, shank, foot = _leg(rng, kind, side, side * step)
        hip = np.array([side * HIP, 0, 0])
        knee = hip + THIGH * thigh
        ankle = knee + SHANK * shank
        heel = ankle + 0.035 * shank - 0.03 * foot
        toe = heel + FOOT * foot
        lateral = np.array([side * 0.016, 0, 0])
        limb = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hand": wrist + HAND * fore}
        limb |= {"hip": hip, "knee": knee, "ankle": ankle, "heel": heel, "toe": toe}
        limb |= {"big_toe": toe - lateral, "small_toe": toe + lateral - 0.02 * foot}
        joints |= {f"{name}_{joint}": at for joint, at in limb.items()}
    return Pose(joints={n: camera @ at for n, at in joints.items()}, head=camera @ head, chest=camera @ chest)
