"""Receives files: streams them to disk, unpacks archives member by member and checks every image."""
