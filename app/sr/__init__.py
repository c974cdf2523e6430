"""Super-resolution with the EDSR that was trained along the way."""
