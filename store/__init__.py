"""Persistence: the database, blobs and the queue. The only package that knows SQL, paths or Redis."""
