"""The paper: networks, losses, how a degradation is applied, checkpoints. It imports no other package of Patina."""
