"""Contact sheets: pictures, kernels, noise and figures on one page that needs no other explanation."""
