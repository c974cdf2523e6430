"""Readers of image files: `opening` picks the one for a file; the others are each for a format or a library."""
