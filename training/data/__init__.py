"""Photos, patches and what is known about them before training."""
