"""Results to pictures, with Pillow alone."""
