"""What an animal looks like from above, and where its parts and points are in a pose.

Fourteen points. Lengths are in body lengths (nose to tail base), +x towards the nose, the animal's left is
at negative y when it looks to the right of the screen.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from asterism.data.worlds.creature_motion import Motion
from asterism.data.worlds.grounds import random_colour
from asterism.data.worlds.painting import Flat, Layer, Paint, Textile
from asterism.data.worlds.shapes import Tube
from asterism.types import Skeleton

SKELETON = Skeleton(
    names=(
        *("nose", "head", "left_ear", "right_ear", "neck", "back", "hips"),
        *("left_fore_paw", "right_fore_paw", "left_hind_paw", "right_hind_paw"),
        *("tail_base", "tail_mid", "tail_tip"),
    ),
    edges=(
        *((0, 1), (1, 2), (1, 3), (1, 4), (4, 5), (5, 6), (6, 11), (11, 12), (12, 13)),
        *((4, 7), (4, 8), (6, 9), (6, 10)),
    ),
    swap=(0, 1, 3, 2, 4, 5, 6, 8, 7, 10, 9, 11, 12, 13),
)

# Back to front. The four limbs are under the trunk, what the head carries is on top of it.
PARTS = (
    *("left_fore_leg", "right_fore_leg", "left_hind_leg", "right_hind_leg"),
    *("left_fore_foot", "right_fore_foot", "left_hind_foot", "right_hind_foot"),
    *("tail", "trunk", "head", "left_ear", "right_ear", "left_eye", "right_eye", "nose"),
)
_PART = {name: i for i, name in enumerate(PARTS)}

# A point is seen when one of these parts is on top of it.
SURFACE: dict[str, tuple[str, ...]] = {
    "nose": ("nose", "head"),
    "head": ("head",),
    "left_ear": ("left_ear",),
    "right_ear": ("right_ear",),
    "neck": ("trunk", "head", "left_ear", "right_ear"),
    "back": ("trunk",),
    "hips": ("trunk",),
    "left_fore_paw": ("left_fore_foot",),
    "right_fore_paw": ("right_fore_foot",),
    "left_hind_paw": ("left_hind_foot",),
    "right_hind_paw": ("right_hind_foot",),
    "tail_base": ("trunk", "tail"),
    "tail_mid": ("tail",),
    "tail_tip": ("tail",),
}
_TRUNK, _HEAD = 0.72, 0.28  # shares of the body's length
_TRUNK_AT = np.linspace(0, 1, 11)
_TAIL_AT = np.linspace(0, 1, 13)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """One animal: proportions in body lengths, and its fur."""

    width: float  # largest radius of the trunk
    waist: float  # how much wider the hips are than the shoulders, as a share
    head: float  # radius of the head
    snout: float  # radius of the snout
    ear: float
    ear_out: float
    tail: float  # length
    tail_radius: float
    leg: float  # how far a paw stands out from the trunk's axis
    leg_radius: float
    paints: dict[str, Paint]


def random_looks(rng: np.random.Generator, ground_light: float) -> Looks:
    """An animal that differs from a ground of mean level `ground_light` by at least 45 levels."""
    below, above = ground_light - 45, 235 - (ground_light + 45)
    dark = below > 30 and (above <= 0 or rng.random() < 0.6)
    light = rng.uniform(25, below) if dark else rng.uniform(min(ground_light + 45, 225), 235)
    base = random_colour(rng, light=light, chroma=18.0) + (12.0, 0.0, -12.0)  # fur is warm
    # The second colour lies on the far side of the first, or, where there is no room, half way to the ground
    room = light - 8 if dark else 248 - light
    away = rng.uniform(40, 90) if room > 60 else -rng.uniform(0.35, 0.5) * abs(light - ground_light)
    second = np.clip(base + (-away if dark else away), 8, 248)
    width = rng.uniform(0.14, 0.21)
    skin = 0.45 * base + 0.55 * np.array([225.0, 160.0, 150.0])
    pattern = rng.choice(["plain", "spots", "stripes", "gradient", "saddle"])

    def fur(along: float, across: float, pattern: str) -> Textile:
        return Textile(
            base=base,
            second=second,
            pattern=pattern,
            extent=(100 * along, 100 * across),
            shift=(rng.uniform(0, 255), rng.uniform(0, 255)),
            repeat=rng.uniform(4, 8),
            grain=rng.uniform(3, 9),
            depth=rng.uniform(0.25, 0.45),
        )

    bare = Textile(base=skin, second=skin, grain=3.0, extent=(60.0, 5.0))
    leg, inner = fur(0.3, 0.05, "plain"), Flat(0.55 * skin + 0.45 * base)
    paints: dict[str, Paint] = {}
    paints |= dict.fromkeys(PARTS[:4], leg) | dict.fromkeys(PARTS[4:8], bare)
    paints |= {"tail": bare if rng.random() < 0.5 else fur(0.6, 0.04, str(pattern))}
    paints |= {"trunk": fur(_TRUNK, width, str(pattern)), "head": fur(_HEAD, 0.11, "plain")}
    paints |= {"left_ear": inner, "right_ear": inner, "nose": Flat(0.5 * skin)}
    paints |= {name: Flat(np.full(3, 12.0)) for name in ("left_eye", "right_eye")}
    return Looks(
        width=width,
        waist=rng.uniform(0.0, 0.35),
        head=rng.uniform(0.085, 0.125),
        snout=rng.uniform(0.025, 0.05),
        ear=rng.uniform(0.03, 0.055),
        ear_out=rng.uniform(0.09, 0.115),
        tail=rng.uniform(0.4, 0.85),
        tail_radius=rng.uniform(0.018, 0.035),
        leg=width + rng.uniform(0.0, 0.08),
        leg_radius=rng.uniform(0.03, 0.045),
        paints=paints,
    )


def _chain(start: Float[np.ndarray, "2"], angles: Float[np.ndarray, " n"], length: float) -> np.ndarray:
    """A line from `start` whose n equal steps go in the given directions: (n + 1) 2."""
    steps = np.stack([np.cos(angles), np.sin(angles)], 1) * (length / len(angles))
    return np.concatenate([start[None], start + np.cumsum(steps, 0)])


def _left(angle: float) -> Float[np.ndarray, "2"]:
    return np.array([np.sin(angle), -np.cos(angle)])


def _lines(motion: Motion, t: int, looks: Looks) -> dict[str, Float[np.ndarray, "n 2"]]:
    """Axes of trunk (tail base to neck), head (neck to nose) and tail (base to tip), in pixels."""
    size, heading, bend = motion.length[t], motion.heading[t], motion.bend[t]
    between = (_TRUNK_AT[1:] + _TRUNK_AT[:-1]) / 2
    trunk = _chain(np.zeros(2), heading + bend * (between - 1 / 2), size * _TRUNK)
    trunk += motion.centre[t] - trunk[len(trunk) // 2]
    neck = heading + bend / 2
    # The head turns about the neck: most of the turn happens in its first half
    head = _chain(trunk[-1], neck + motion.look[t] * np.array([0.35, 0.75, 1, 1, 1, 1]), size * _HEAD)
    curve, wave = motion.tail[t]
    along = (_TAIL_AT[1:] + _TAIL_AT[:-1]) / 2
    swing = curve * along + wave * np.sin(motion.phase[t] / 2 - 3.5 * along) * along
    tail = _chain(trunk[0], heading - bend / 2 + np.pi + swing, size * looks.tail)
    return {"trunk": trunk, "head": head, "tail": tail}


def _limbs(
    motion: Motion, t: int, looks: Looks, trunk: Float[np.ndarray, "n 2"]
) -> tuple[dict[str, Tube], dict[str, Float[np.ndarray, "2"]]]:
    """Legs and feet: diagonal pairs swing together, a swinging paw is drawn in under the trunk."""
    size, tubes, paws = motion.length[t], {}, {}
    tangents = np.gradient(trunk, axis=0)
    for name, node, side, phase in (
        ("left_fore", 8, 1, 0.0),
        ("right_fore", 8, -1, np.pi),
        ("left_hind", 2, 1, np.pi),
        ("right_hind", 2, -1, 0.0),
    ):
        angle = float(np.arctan2(tangents[node, 1], tangents[node, 0]))
        ahead, out = np.array([np.cos(angle), np.sin(angle)]), side * _left(angle)
        swing = motion.phase[t] + phase
        reach = 0.13 * motion.stride[t] * np.cos(swing) + (0.06 if node == 8 else -0.02)
        lift = np.clip(-np.sin(swing), 0, 1) * motion.stride[t]  # forward swing, when the paw is in the air
        root = trunk[node] + size * 0.6 * looks.width * out
        paw = trunk[node] + size * (reach * ahead + looks.leg * (1 - 0.38 * lift) * out)
        knee = (root + paw) / 2 + size * (-0.03 if node == 8 else 0.05) * ahead
        radius = size * looks.leg_radius
        tubes[f"{name}_leg"] = Tube(np.stack([root, knee, paw]), radius * np.array([1.5, 1.2, 0.8]))
        toe = size * (0.03 if node == 8 else 0.045) * (ahead + 0.3 * out)
        tubes[f"{name}_foot"] = Tube(np.stack([paw - toe, paw + toe]), np.full(2, 0.85 * radius))
        paws[f"{name}_paw"] = paw
    return tubes, paws


def assemble(
    motion: Motion, t: int, looks: Looks, owner: int
) -> tuple[list[Layer], Float[np.ndarray, "K 2"]]:
    """The layers of one animal in frame t, back to front in the order of PARTS, and its 14 points."""
    size, lines = motion.length[t], _lines(motion, t, looks)
    trunk, head, tail = lines["trunk"], lines["head"], lines["tail"]
    tubes, points = _limbs(motion, t, looks, trunk)
    # An egg: rounded at the tail base, widest at the hips, slimmer at the neck
    profile = np.sqrt(np.clip(1 - (2 * _TRUNK_AT - 1) ** 2 * 0.72, 0, 1)) * (
        1 + looks.waist * (0.4 - _TRUNK_AT)
    )
    tubes["trunk"] = Tube(trunk, size * looks.width * profile)
    tubes["tail"] = Tube(tail, size * looks.tail_radius * np.linspace(1.3, 0.45, len(tail)))
    crown, snout = looks.head, looks.snout
    blend = np.array([0.9, 1.0, 1.0, 0.85, 0.6, 0.25, 0.0])
    tubes["head"] = Tube(head, size * (snout + (crown - snout) * blend))
    gaze = float(np.arctan2(*(head[-1] - head[-3])[::-1]))
    for side, sign in (("left", 1), ("right", -1)):
        ear = head[2] + size * looks.ear_out * sign * _left(gaze)
        eye = head[4] + size * 0.65 * (snout + (crown - snout) * blend[4]) * sign * _left(gaze)
        back = size * 0.02 * np.array([np.cos(gaze), np.sin(gaze)])
        tubes[f"{side}_ear"] = Tube(np.stack([ear - back, ear + back]), np.full(2, size * looks.ear))
        tubes[f"{side}_eye"] = Tube(np.stack([eye, eye + back / 8]), np.full(2, size * 0.016))
        points[f"{side}_ear"] = ear
    tip = (head[-1] - head[-2]) / np.linalg.norm(head[-1] - head[-2])
    tubes["nose"] = Tube(np.stack([head[-1], head[-1] + 0.01 * size * tip]), np.full(2, size * 0.02))
    points |= {"nose": head[-1], "head": head[3], "neck": trunk[-1], "back": trunk[5], "hips": trunk[2]}
    points |= {"tail_base": tail[0], "tail_mid": tail[6], "tail_tip": tail[-1]}
    layers = [Layer(shape=tubes[n], paint=looks.paints[n], owner=owner, part=i) for i, n in enumerate(PARTS)]
    return layers, np.stack([points[name] for name in SKELETON.names])
