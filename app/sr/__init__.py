"""Super-resolution with the EDSR that was trained jointly with the degradation."""
