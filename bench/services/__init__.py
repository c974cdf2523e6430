"""Services for benchmarks and fault injection: one on this computer, or a small cluster on it."""
