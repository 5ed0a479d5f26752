"""A person's clothes and body: from a pose in three dimensions to layers in the picture and points on them.

Lengths are in statures. Layers are ordered by depth, so that what is nearer covers what is farther; which
parts may lie on top of a point for it to count as seen is decided with them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from asterism.data.worlds.figure_pose import Pose
from asterism.data.worlds.grounds import random_colour
from asterism.data.worlds.painting import Flat, Layer, Paint, Textile
from asterism.data.worlds.shapes import Ball, Field, Shape, Slab, Tube
from asterism.types import Skeleton

_SIDES = ("left", "right")
_PAIRED = (*("upper_arm", "sleeve", "forearm", "hand", "thigh", "shank", "shoe", "eye", "ear"),)
PARTS = (
    "neck",
    "pelvis",
    "torso",
    "skirt",
    "hair",
    "head",
    "nose",
    *(f"{s}_{p}" for s in _SIDES for p in _PAIRED),
)
_HEAD = np.array([0.055, 0.078, 0.064])  # half axes: left, up, forward
_FAR = 0.045  # a hip or shoulder this much deeper than the body's middle is behind the trunk

# Where a point is found among the joints, and what may be on top of it; "*" stands for the side.
_ON: dict[str, tuple[str, ...]] = {
    "nose": ("nose",),
    "neck": ("torso", "neck", "head", "hair"),
    "mid_hip": ("pelvis", "torso", "skirt", "left_thigh", "right_thigh"),
    "eye": ("*_eye",),
    "ear": ("*_ear",),
    "shoulder": ("*_upper_arm", "*_sleeve"),
    "elbow": ("*_upper_arm", "*_forearm", "*_sleeve"),
    "wrist": ("*_forearm", "*_hand"),
    "hip": ("*_thigh",),
    "knee": ("*_thigh", "*_shank", "skirt"),
    "ankle": ("*_shank", "*_shoe"),
    "heel": ("*_shoe",),
    "big_toe": ("*_shoe",),
    "small_toe": ("*_shoe",),
}
_TRUNK = ("torso", "pelvis", "skirt")


def joint_of(name: str) -> str:
    """The joint a keypoint of COCO17 or BODY25 is: left_eye -> left_eye, LBigToe -> left_big_toe."""
    side = {"L": "left_", "R": "right_"}.get(name[0], "")
    if name.islower():
        return name
    rest = name[1:] if side else name
    return side + "".join("_" + c.lower() if c.isupper() else c for c in rest).lstrip("_")


@dataclass(frozen=True)
class _Head:
    """Skin in front, hair behind and above, a mouth: colours of a ball by where its surface points."""

    axes: Float[np.ndarray, "3 3"]  # left, up, forward as columns, camera axes
    ahead: Float[np.ndarray, "2"]  # of the ball's u on the screen
    skin: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    hairline: float  # how far down the hair comes, 1 is bald
    beard: bool

    def __call__(self, field: Field) -> Float32[np.ndarray, "m 3"]:
        u, v = field.u, field.v
        toward = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
        x = u * self.ahead[0] + v * self.ahead[1]
        y = u * self.ahead[1] - v * self.ahead[0]
        left, up, ahead = self.axes.T.astype(np.float32) @ np.stack([x, y, -toward]).astype(np.float32)
        hairy = (up > self.hairline) | ((ahead < 0.15) & (up > -0.75) & (self.hairline < 1))
        hairy |= self.beard & (up < -0.4) & (ahead > 0)
        colour = np.where(hairy[:, None], self.hair, self.skin).astype(np.float32)
        mouth = (np.abs(left) < 0.3) & (np.abs(up + 0.52) < 0.07) & (ahead > 0)
        colour[mouth] = (150, 60, 60)
        light = (0.88 - 0.15 * y) * (0.75 + 0.25 * toward)
        return colour * light.astype(np.float32)[:, None]


@dataclass(frozen=True, kw_only=True)
class Wear:
    """What one person wears and how wide the body is."""

    build: float
    skin: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    hairline: float
    beard: bool
    long_hair: bool
    skirt: bool
    sleeve: float  # how much of the upper arm it covers
    paints: dict[str, Paint]


def random_wear(rng: np.random.Generator) -> Wear:
    """Clothes of any colour and pattern; the left of a body is dressed like its right."""
    skin = np.array([244.0, 206, 178]) + rng.beta(1.2, 1.6) * np.array([-172.0, -160, -150])
    hair = np.array([[25.0, 20, 18], [70, 45, 28], [120, 78, 40], [205, 170, 100], [165, 165, 165]])[
        rng.integers(5)
    ]

    def cloth(along: float, across: float) -> Textile:
        light = rng.uniform(25, 230)
        patterns = ["plain", "bands", "stripes", "checks", "spots", "gradient"]
        return Textile(
            base=random_colour(rng, light=light, chroma=rng.uniform(0, 100)),
            second=random_colour(rng, light=rng.uniform(25, 230), chroma=rng.uniform(0, 100)),
            pattern=str(rng.choice(patterns, p=[0.5, 0.15, 0.08, 0.1, 0.09, 0.08])),
            extent=(100 * along, 100 * across),
            shift=(rng.uniform(0, 255), rng.uniform(0, 255)),
            repeat=rng.uniform(5, 14),
            grain=rng.uniform(2, 8),
            depth=rng.uniform(0.2, 0.4),
        )

    bare = Textile(base=skin, second=skin, grain=3.0, depth=0.3)
    shirt, trousers, shoe = cloth(1.0, 0.4), cloth(0.9, 0.25), cloth(0.4, 0.1)
    sleeves, shorts, skirt = rng.random(), rng.random() < 0.3, rng.random() < 0.12
    arm = shirt if sleeves < 0.45 else bare
    leg = bare if shorts or skirt else trousers
    paints: dict[str, Paint] = {"neck": bare, "pelvis": trousers, "torso": shirt, "skirt": trousers}
    paints |= {"hair": Textile(base=hair, second=hair, grain=9.0), "nose": Flat(0.9 * skin)}
    for side in _SIDES:
        paints |= {
            f"{side}_upper_arm": arm,
            f"{side}_sleeve": shirt,
            f"{side}_forearm": arm,
            f"{side}_hand": bare,
        }
        paints |= {f"{side}_thigh": bare if skirt else trousers, f"{side}_shank": leg, f"{side}_shoe": shoe}
        paints |= {f"{side}_eye": Flat(np.array([25.0, 20, 20])), f"{side}_ear": Flat(0.85 * skin)}
    long_hair = rng.random() < 0.35
    return Wear(
        build=rng.uniform(0.85, 1.25),
        skin=skin,
        hair=hair,
        hairline=1.0 if rng.random() < 0.08 and not long_hair else rng.uniform(0.3, 0.6),
        beard=not long_hair and rng.random() < 0.2,
        long_hair=long_hair,
        skirt=skirt,
        sleeve=0.6 if sleeves < 0.85 else 0.0,
        paints=paints,
    )


@dataclass(frozen=True, kw_only=True)
class Person:
    """One dressed person in the picture: layers back to front, points, and which parts may cover a point."""

    layers: list[Layer]
    xy: Float[np.ndarray, "K 2"]
    own: Bool[np.ndarray, "K parts"]


def face_of(pose: Pose) -> dict[str, Float[np.ndarray, "3"]]:
    """Points of the head in the axes of the pose."""
    places = {"nose": (0, -0.12, 1.1), "nose_root": (0, -0.05, 0.8)}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        places |= {f"{side}_eye": (0.38 * sign, 0.12, 0.92), f"{side}_ear": (1.0 * sign, -0.02, -0.05)}
    return {n: pose.joints["head"] + pose.head @ (_HEAD * at) for n, at in places.items()}


def assemble(
    pose: Pose, wear: Wear, skeleton: Skeleton, scale: float, origin: Float[np.ndarray, "2"], owner: int
) -> Person:
    """A person `scale` pixels tall whose hips are at `origin`.

    Points of the face that are among the pose's joints stay where they are (a perspective camera moved them).
    """
    joints = face_of(pose) | pose.joints
    xy = {name: origin + scale * at[:2] for name, at in joints.items()}
    found: list[tuple[float, str, Shape, Paint]] = []

    def tube(part: str, ends: tuple[str, ...], radii: tuple[float, ...], nearer: float = 0.0) -> None:
        depth = float(np.mean([joints[e][2] for e in ends])) - nearer
        shape = Tube(np.stack([xy[e] for e in ends]), scale * np.array(radii))
        found.append((depth, part, shape, wear.paints[part]))

    thick = 0.5 + 0.5 * wear.build
    for side in _SIDES:
        upper, hem = f"{side}_upper_arm", f"{side}_hem"
        joints[hem] = joints[f"{side}_shoulder"] * (1 - wear.sleeve) + joints[f"{side}_elbow"] * wear.sleeve
        xy[hem] = origin + scale * joints[hem][:2]
        tube(upper, (f"{side}_shoulder", f"{side}_elbow"), (0.034 * thick, 0.027 * thick))
        if wear.sleeve:
            depth = joints[f"{side}_shoulder"][2] - joints[hem][2]
            tube(
                f"{side}_sleeve",
                (f"{side}_shoulder", hem),
                (0.04 * thick, 0.036 * thick),
                0.003 + max(-depth, 0),
            )
        tube(f"{side}_forearm", (f"{side}_elbow", f"{side}_wrist"), (0.027 * thick, 0.019))
        tube(f"{side}_hand", (f"{side}_wrist", f"{side}_hand"), (0.018, 0.024), 0.005)
        tube(f"{side}_thigh", (f"{side}_hip", f"{side}_knee"), (0.058 * thick, 0.04 * thick))
        tube(f"{side}_shank", (f"{side}_knee", f"{side}_ankle"), (0.042 * thick, 0.026))
        tube(f"{side}_shoe", (f"{side}_heel", f"{side}_toe"), (0.027, 0.024), 0.004)
        tube(f"{side}_eye", (f"{side}_eye", f"{side}_eye"), (0.0085, 0.0085))
        tube(f"{side}_ear", (f"{side}_ear", f"{side}_ear"), (0.015, 0.015))
    tube("nose", ("nose_root", "nose"), (0.008, 0.009))
    tube("neck", ("neck", "head"), (0.034 * thick, 0.03), -0.03)
    tube("pelvis", ("left_hip", "right_hip"), (0.062 * wear.build,) * 2, -0.02)
    found += _trunk(pose, wear, xy, scale, origin)
    found.sort(key=lambda row: -row[0])
    layers = [Layer(shape=s, paint=p, owner=owner, part=PARTS.index(part)) for _, part, s, p in found]
    names = [joint_of(name) for name in skeleton.names]
    return Person(layers=layers, xy=np.stack([xy[n] for n in names]), own=_own(joints, names))


def _trunk(
    pose: Pose, wear: Wear, xy: dict[str, np.ndarray], scale: float, origin: Float[np.ndarray, "2"]
) -> list[tuple[float, str, Shape, Paint]]:
    """Torso, skirt, head and long hair, with their depths."""
    joints, left, up = pose.joints, pose.chest[:, 0], pose.chest[:, 1]
    centre, hips = joints["head"], (joints["left_hip"] - joints["right_hip"]) / 2

    def flat(at: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2"]:
        return origin + scale * at[:2]

    top = joints["neck"] - 0.045 * up
    corners = [top + 0.075 * left, top - 0.075 * left, -0.5 * hips, 0.5 * hips]
    axis = np.stack([flat(joints["neck"]), flat(0.02 * up)])
    torso = Slab(np.stack([flat(c) for c in corners]), scale * 0.054 * wear.build, axis)
    rows: list[tuple[float, str, Shape, Paint]] = [(top[2] / 2, "torso", torso, wear.paints["torso"])]
    if wear.skirt:
        hem = [0.35 * joints[f"{s}_hip"] + 0.65 * joints[f"{s}_knee"] for s in _SIDES]
        ends = [0.8 * hips, -0.8 * hips, hem[1] - 0.2 * hips, hem[0] + 0.2 * hips]
        axis = np.stack([flat(np.zeros(3)), flat((hem[0] + hem[1]) / 2)])
        depth = min(h[2] for h in (*hem, joints["left_hip"], joints["right_hip"])) - 0.03
        slab = Slab(np.stack([flat(e) for e in ends]), scale * 0.045 * wear.build, axis)
        rows.append((depth, "skirt", slab, wear.paints["skirt"]))
    rise = pose.head[:2, 1]
    tall = float(np.linalg.norm(rise))
    ahead = rise / tall if tall > 1e-3 else np.array([0.0, -1.0])
    reach = np.sqrt((_HEAD[1] * tall) ** 2 + _HEAD[2] ** 2 * (1 - tall**2))
    side = float(abs(pose.head[2, 0]))  # 1 in profile, when the head shows its depth instead of its width
    across = np.sqrt((_HEAD[0] ** 2) * (1 - side**2) + (_HEAD[2] * side) ** 2)
    face = _Head(pose.head, ahead, wear.skin, wear.hair, wear.hairline, wear.beard)
    rows.append((centre[2], "head", Ball(flat(centre), scale * reach * ahead, float(scale * across)), face))
    if wear.long_hair:
        crown = centre + pose.head @ [0, 0.03, -0.03]
        nape = centre + pose.head @ [0, -0.12, -0.045]
        shape = Tube(np.stack([flat(crown), flat(nape)]), scale * np.array([0.06, 0.05]))
        rows.append(((crown[2] + nape[2]) / 2, "hair", shape, wear.paints["hair"]))
    return rows


def _own(joints: dict[str, np.ndarray], names: list[str]) -> Bool[np.ndarray, "K parts"]:
    """own[k, part]: the part may lie on top of point k without hiding it."""
    own = np.zeros((len(names), len(PARTS)), bool)
    for k, name in enumerate(names):
        side, _, base = name.partition("_")
        if side not in _SIDES:
            side, base = "", name
        parts = [part.replace("*", side) for part in _ON[base]]
        if base in ("shoulder", "hip"):
            middle = joints["mid_hip" if base == "hip" else "neck"][2]
            parts += _TRUNK if joints[name][2] - middle < _FAR else ()
        if base == "ear":  # on the rim of the head, unless it is on the far side
            parts += ("head", "hair") if joints[name][2] - joints["head"][2] < _HEAD[0] / 2 else ()
        own[k, [PARTS.index(part) for part in parts]] = True
    return own
