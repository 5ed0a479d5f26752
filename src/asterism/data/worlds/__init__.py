"""Generated worlds: exact points, masks and visibility, deterministic under a seed."""
