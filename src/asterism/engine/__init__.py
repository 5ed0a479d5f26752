"""The only floor where a loop, a device or a seed exists."""
