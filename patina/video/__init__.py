"""Videos on the command line: frames to learn from, and super-resolved films."""
