"""Is it alive, can it work, and how much does it do."""
