"""The losses of the training phases."""
