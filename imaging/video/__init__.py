"""Video files: their facts and their frames, decoded by FFmpeg in a process of its own."""
