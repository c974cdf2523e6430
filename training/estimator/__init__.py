"""The estimator that predicts a photo's blur and noise, its features and its pretrained weights."""
