"""The synchronous client. scripts/unasync.py generates every module here, except `concurrency`."""
