"""Image files: decoding in separate processes, and encoding."""
