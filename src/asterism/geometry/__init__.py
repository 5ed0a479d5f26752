"""Pure functions on coordinates: no state, no choice of device or dtype."""
