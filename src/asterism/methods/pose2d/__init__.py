"""Keypoints of people, animals and things in images, learned from labels."""
