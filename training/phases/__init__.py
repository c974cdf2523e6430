"""The steps of a training's phases, one file each. training/loop.py calls them in order."""
