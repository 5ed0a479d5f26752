"""Keypoints of point clouds and shapes."""
