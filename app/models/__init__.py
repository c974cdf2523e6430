"""Trained models: what was learned, and its files."""
