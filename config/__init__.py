"""What every process needs before it starts: its settings and its log."""
