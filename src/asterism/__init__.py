"""asterism: keypoints. Learn, detect, describe, match, lift and use them."""

__version__ = "0.1.0"
