"""Local features of pictures: places, and descriptors by which they are matched."""
