"""What can go wrong for the person at the keyboard; every message says what to do."""

from __future__ import annotations


class PatinaError(Exception):
    """The command line prints the message and leaves with status 1."""


class StartError(PatinaError):
    """The service cannot be started."""


class AlreadyRunningError(StartError):
    """Another `patina up` works on this data folder."""
