"""Learns a degradation: photos, presets, the training loop. Imports no HTTP, queue or database."""
