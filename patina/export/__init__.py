"""Exports a degrade job's pairs to the formats that trainers read, in one streaming pass."""
