"""Generated worlds: exact points, masks and visibility, deterministic under a seed."""

from asterism.data.worlds.creatures import Creatures, demo_clip
from asterism.data.worlds.figures import Figures
from asterism.data.worlds.names import world
from asterism.data.worlds.rig import Rig

__all__ = ["Creatures", "Figures", "Rig", "demo_clip", "world"]
