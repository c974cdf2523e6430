"""Fast and exact application of trained networks to whole images."""
