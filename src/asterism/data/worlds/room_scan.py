"""One view of a room: what a depth camera sees of it from one place, as a cloud to learn from."""

import numpy as np
from jaxtyping import Float

from asterism.data.worlds.rooms import Sensor, camera_pose, room, view, worth_a_scan

_TRIES = 100  # poses; about one in four is worth a scan


def scan(seed: int, index: int, sensor: Sensor | None = None) -> Float[np.ndarray, "N 3"]:
    """The points, about 15,000, in metres and in the camera's own frame (x right, y down, z ahead); the same
    for the same numbers. Raises ValueError where nothing worth a scan is seen.
    """
    sensor = Sensor() if sensor is None else sensor
    coarse = Sensor(pixels=(39, 60), opening=sensor.opening, reach=sensor.reach, noise=0, holes=0)
    dice = np.random.default_rng([seed, index, 78])
    here = room(dice)
    for _ in range(_TRIES):
        pose = camera_pose(dice, here, dice.uniform(0, 2 * np.pi))
        if worth_a_scan(view(dice, here, pose, coarse)):
            return view(dice, here, pose, sensor)
    raise ValueError(f"room {index} of seed {seed}: {_TRIES} cameras saw nothing worth a scan")
