"""Results and truth to numbers."""
