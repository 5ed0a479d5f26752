"""Generated worlds: exact points, masks and visibility, deterministic under a seed."""

from asterism.data.worlds.creatures import Creatures, demo_clip
from asterism.data.worlds.figures import Figures
from asterism.data.worlds.names import world

__all__ = ["Creatures", "Figures", "demo_clip", "world"]
