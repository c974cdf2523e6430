"""Files on disk: blobs, capacity, garbage collection, partial uploads."""
