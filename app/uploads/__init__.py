"""Files on their way in: streamed to disk, unpacked member by member, checked."""
