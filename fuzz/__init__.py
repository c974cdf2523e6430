"""Fuzzing: random requests against the API's document, and random files against their readers."""
