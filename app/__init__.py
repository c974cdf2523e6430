"""What speaks HTTP: one package for each noun, with the same files in every one. Never imports torch."""
