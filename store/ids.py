"""Ids of records: short, URL-safe, and sorted by creation time."""

from ulid import ULID


def new_id() -> str:
    """Returns a ULID in lower case: 26 characters. The first ten are the time in milliseconds."""
    return str(ULID()).lower()
