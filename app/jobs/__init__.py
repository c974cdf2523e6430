"""Jobs: what was accepted, how far it is, and what came of it."""
