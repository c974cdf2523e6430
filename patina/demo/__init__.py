"""The demo: the whole workflow on sample photographs, scored against a simulated camera with known blur and noise."""
