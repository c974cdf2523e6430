"""Photos, patches of them, and what is measured on them before a training."""
