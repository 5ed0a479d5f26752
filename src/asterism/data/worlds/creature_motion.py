"""How an animal moves: a walk inside the picture, with gait, bends, a lagging tail and a changing size.

Everything is a smooth function of the frame, drawn once per clip. T frames; angles in radians, y points
down, so a positive turn is clockwise on the screen; lengths in body lengths unless they say pixels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One row per frame."""

    centre: Float[np.ndarray, "T 2"]  # the middle of the trunk, pixels
    heading: Float[np.ndarray, " T"]  # of the middle of the trunk
    bend: Float[np.ndarray, " T"]  # how much the trunk turns from tail base to neck
    look: Float[np.ndarray, " T"]  # how much the head turns against the neck
    phase: Float[np.ndarray, " T"]  # of the gait
    stride: Float[np.ndarray, " T"]  # how far the paws swing, 0 standing to 1
    tail: Float[np.ndarray, "T 2"]  # its curve, and the size of its wave
    length: Float[np.ndarray, " T"]  # of the body, pixels

    def __len__(self) -> int:
        return len(self.heading)


def smooth_noise(rng: np.random.Generator, frames: int, span: float) -> Float[np.ndarray, " T"]:
    """Noise of unit variance that changes over about `span` frames."""
    # Cut from the middle of a longer run: near its ends the filter would flatten the noise
    pad = int(4 * span)
    noise = gaussian_filter1d(rng.standard_normal(frames + 2 * pad), span)[pad : pad + frames]
    return noise * np.sqrt(2 * np.sqrt(np.pi) * span)


def _walk(
    rng: np.random.Generator, pace: Float[np.ndarray, " T"], size: tuple[int, int], margin: float
) -> tuple[Float[np.ndarray, "T 2"], Float[np.ndarray, " T"]]:
    """Position and heading at a pace in pixels per frame; walls within `margin` turn the animal away."""
    high = np.array([size[1], size[0]], float) - 1 - margin
    low = np.full(2, margin)
    middle = (low + high) / 2
    wander = 0.05 * smooth_noise(rng, len(pace), 12.0) + rng.choice([-1, 1]) * 0.02
    xy, heading, rate = rng.uniform(low, high), rng.uniform(0, 2 * np.pi), 0.0
    centre, angle = np.empty((len(pace), 2)), np.empty(len(pace))
    for t in range(len(pace)):
        outside = np.abs((xy - middle) / (high - low)).max() * 2  # 1 at the wall
        home = np.arctan2(*(middle - xy)[::-1]) - heading
        home = (home + np.pi) % (2 * np.pi) - np.pi
        wish = wander[t] + np.sign(home) * min(abs(home), 0.13) * np.clip(3 * (outside - 0.6), 0, 1)
        rate += 0.25 * (wish - rate)
        heading += rate
        step = pace[t] * np.array([np.cos(heading), np.sin(heading)])
        xy = np.clip(xy + step, low, high)
        centre[t], angle[t] = xy, heading
    # The wall stops a centre at once; a body is slower than that
    return gaussian_filter1d(centre, 1.5, axis=0, mode="nearest"), angle


def random_motion(
    rng: np.random.Generator, frames: int, size: tuple[int, int], length: float, margin: float
) -> Motion:
    """A walk of an animal `length` pixels long (nose to tail base), `margin` pixels off the rim."""
    speed = 0.024 * np.clip(1.1 + 0.9 * smooth_noise(rng, frames, 12.0), 0, 2.4)  # body lengths per frame
    centre, heading = _walk(rng, speed * length, size, margin)
    turn = gaussian_filter1d(np.gradient(np.unwrap(heading)), 2.0) if frames > 1 else np.zeros(frames)
    lag = np.roll(turn, 4)
    lag[:4] = turn[:1]
    return Motion(
        centre=centre,
        heading=heading,
        bend=np.clip(6.0 * turn + 0.22 * smooth_noise(rng, frames, 10.0), -1.1, 1.1),
        look=np.clip(3.0 * turn + 0.35 * smooth_noise(rng, frames, 6.0), -0.9, 0.9),
        phase=rng.uniform(0, 2 * np.pi) + np.cumsum(2 * np.pi * speed / 0.42),
        stride=np.clip(speed / 0.018, 0.05, 1),
        tail=np.stack([-9.0 * lag + 0.8 * smooth_noise(rng, frames, 9.0), 0.2 + speed / 0.06], 1),
        length=length * (1 + 0.04 * smooth_noise(rng, frames, 25.0)),
    )
