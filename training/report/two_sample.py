"""A two-sample test: how well a small classifier separates real from generated photos."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_FOLDS, RIDGE, NEWTON_STEPS = 5, 0.01, 8


@dataclass(frozen=True)
class TwoSample:
    accuracy: float  # mean share of real and of generated crops that are classified correctly, 0.5..1
    uncertainty: float  # its standard error, from the variation between photos


def two_sample_accuracy(
    real: Tensor, generated: Tensor, real_photos: list[int], generated_photos: list[int]
) -> TwoSample | None:
    """Computes the held-out accuracy on features real (N, F) and generated (M, F).

    The lists give the photo of each entry, ascending. A photo is classified by a model that was fitted without it and
    without its neighbors in the set, because shots of one subject are adjacent. Returns None if a set has one photo
    only, because nothing can be held out.
    """
    real_index, generated_index = _renumber(real_photos), _renumber(generated_photos)
    folds = min(MAX_FOLDS, int(real_index.max()) + 1, int(generated_index.max()) + 1)
    if folds < 2:
        return None
    features = torch.cat([real, generated])
    features = ((features - features.mean(0)) / (features.std(0) + 1e-6)).clamp(-4, 4)
    pairs = torch.triu_indices(features.shape[1], features.shape[1])
    # Products reveal sets that differ in their spread alone.
    inputs = torch.cat([features, features[:, pairs[0]] * features[:, pairs[1]]], 1).double()
    labels = torch.cat([torch.ones(len(real)), torch.zeros(len(generated))]).double()
    folds_of = torch.cat([index * folds // (int(index.max()) + 1) for index in (real_index, generated_index)])
    correct = torch.zeros(len(labels), dtype=torch.double)
    for fold in range(folds):
        held_out = folds_of == fold
        weights = _fit_logistic(inputs[~held_out], labels[~held_out])
        correct[held_out] = ((_with_bias(inputs[held_out]) @ weights > 0) == (labels[held_out] > 0)).double()
    shares = (
        _mean_by_photo(correct[: len(real)], real_index),
        _mean_by_photo(correct[len(real) :], generated_index),
    )
    accuracy = torch.stack([share.mean() for share in shares]).mean()
    variance = torch.stack([share.var() / len(share) for share in shares]).sum() / 4
    return TwoSample(accuracy.item(), variance.sqrt().item())


def _fit_logistic(inputs: Tensor, labels: Tensor) -> Tensor:
    """Fits a ridge logistic regression with balanced classes. inputs (N, D); returns weights (D + 1,)."""
    scale = inputs.std(0) + 1e-6
    x = _with_bias((inputs - inputs.mean(0)) / scale)
    shares = labels.mean(), 1 - labels.mean()
    sample_weight = torch.where(labels > 0, 0.5 / shares[0], 0.5 / shares[1]) / len(labels)
    ridge = RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    ridge[-1, -1] = 1e-6
    weights: Tensor = x.new_zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = (x @ weights).sigmoid()
        gradient = x.T @ (sample_weight * (probability - labels)) + ridge @ weights
        hessian = (x.T * (sample_weight * (probability * (1 - probability) + 1e-3))) @ x + ridge
        step: Tensor = torch.linalg.solve(hessian, gradient)
        weights = weights - step
    unscaled = weights[:-1] / scale
    return torch.cat([unscaled, weights[-1:] - (unscaled @ inputs.mean(0))])


def _with_bias(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)


def _renumber(photos: list[int]) -> Tensor:
    """Numbers the distinct photos from 0."""
    index: Tensor = torch.unique(torch.tensor(photos), return_inverse=True)[1]
    return index


def _mean_by_photo(correct: Tensor, index: Tensor) -> Tensor:
    count = int(index.max()) + 1
    sums, numbers = torch.zeros(2, count, dtype=correct.dtype)
    means: Tensor = sums.index_add(0, index, correct) / numbers.index_add(0, index, torch.ones_like(correct))
    return means
