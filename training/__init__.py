"""How a degradation is learned: photos, presets, the loop. Knows no HTTP, no queue and no database."""
