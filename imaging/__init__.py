"""Image files: decoding in processes of their own, and encoding."""
