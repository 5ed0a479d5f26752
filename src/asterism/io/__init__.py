"""Files to numpy and back. No torch."""
