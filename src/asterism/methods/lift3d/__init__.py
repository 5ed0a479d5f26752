"""Points in space from points of one picture."""
