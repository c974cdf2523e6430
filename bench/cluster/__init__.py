"""How many workers a service can have: measured on one computer, and simulated beyond it."""
