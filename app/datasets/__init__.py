"""Datasets: a set of real low-resolution photos, a set of clean photos, and the models trained on them."""
