"""The asynchronous client: the source that scripts/unasync.py generates `patina.client._sync` from."""
