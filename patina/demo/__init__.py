"""The main job, whole, on photographs that packages ship, in front of a camera whose faults are known."""
