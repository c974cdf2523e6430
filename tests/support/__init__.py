"""What tests share and is no fixture: factories, drivers of real services, and checks."""
