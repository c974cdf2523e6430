"""What lasts: records (SQL), blobs (files) and the queue. The only room that knows SQL, paths or Redis."""
