"""What runs jobs: one file for each kind of job, the process around them, and the reaper."""
