"""Bias field, orientation, grid, intensities; and the maps of a contrast series."""
