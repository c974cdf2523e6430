"""A running service under real faults, and whether it loses or doubles anything: `make chaos`."""
