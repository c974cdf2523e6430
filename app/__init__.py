"""The HTTP API: one package for each noun, with the same file names in each. It never imports torch."""
