"""Inputs: files for one job, sent in several requests."""
