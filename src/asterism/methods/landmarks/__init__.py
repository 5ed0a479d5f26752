"""Landmarks learned without labels."""
