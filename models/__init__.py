"""The paper: its networks, its losses, how a degradation is applied, saving and loading. Imports nothing of ours."""
