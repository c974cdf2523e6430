"""Ids of records: short, URL-safe, and sorted by the time they were made."""

from ulid import ULID


def new_id() -> str:
    """A ULID in lower case: 26 characters, the first ten are the time in milliseconds."""
    return str(ULID()).lower()
