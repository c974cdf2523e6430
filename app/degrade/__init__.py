"""Degrade jobs: clean images in, low-resolution / kernel / noise triplets out."""
