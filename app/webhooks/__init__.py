"""Where to tell of jobs that ended."""
