"""Writes what a degrade job made in the forms that trainers read: a file for each, fed by one stream."""
