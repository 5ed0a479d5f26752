"""Weights with no opinion: networks that know neither a paper's loss nor its data."""
