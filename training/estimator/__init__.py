"""The degradation estimator: features, network, pretrained weights and their pretraining."""
