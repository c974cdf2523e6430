"""Settings and logging, which every process needs first."""
