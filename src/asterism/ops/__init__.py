"""Pure functions on maps and images: no state, no choice of device or dtype."""
