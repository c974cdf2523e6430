"""Trained models, their files and reports."""
