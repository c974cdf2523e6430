"""Archives: all that a job made, in the form that its user's tools read."""
