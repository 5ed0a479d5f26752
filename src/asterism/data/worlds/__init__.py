"""Generated worlds: exact points, masks and visibility, deterministic under a seed."""

from asterism.data.worlds.creatures import Creatures, demo_clip

__all__ = ["Creatures", "demo_clip"]
