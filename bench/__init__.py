"""Measurements of this project's own parts. Nothing here asserts a time."""
