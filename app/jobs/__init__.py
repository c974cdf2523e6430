"""Jobs: accepted work, its progress and its results."""
