"""Datasets: a pile of real low-resolution photos, a pile of clean ones, and what was learned from them."""
