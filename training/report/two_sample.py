"""A two-sample test: how well a small classifier tells looks at real photos from looks at made ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FOLDS, RIDGE, NEWTON_STEPS = 5, 0.01, 8


@dataclass(frozen=True)
class TwoSample:
    accuracy: float  # mean share of real and of made looks that are told rightly: 0.5 nothing is seen, 1 always
    uncertainty: float  # its standard error, by how much it differs from photo to photo


def told_apart(real: Tensor, made: Tensor, real_photos: list[int], made_photos: list[int]) -> TwoSample | None:
    """Held-out accuracy on figures real (N, F) and made (M, F), of which the photo is given for each, ascending.

    A photo is judged by a classifier that was fitted without it, and without its neighbours in the order of the set,
    because shots of the same thing lie next to each other. None where a set has one photo only: nothing can be held
    out.
    """
    of_real, of_made = (_places(photos) for photos in (real_photos, made_photos))
    folds = min(FOLDS, int(of_real.max()) + 1, int(of_made.max()) + 1)
    if folds < 2:
        return None
    figures = torch.cat([real, made])
    figures = ((figures - figures.mean(0)) / (figures.std(0) + 1e-6)).clamp(-4, 4)
    pairs = torch.triu_indices(figures.shape[1], figures.shape[1])
    # With products, or it would miss sets that differ in nothing but their spread.
    inputs = torch.cat([figures, figures[:, pairs[0]] * figures[:, pairs[1]]], 1).double()
    labels = torch.cat([torch.ones(len(real)), torch.zeros(len(made))]).double()
    fold = torch.cat([places * folds // (int(places.max()) + 1) for places in (of_real, of_made)])
    right = torch.zeros(len(labels), dtype=torch.double)
    for held in range(folds):
        out = fold == held
        weights = _fitted(inputs[~out], labels[~out])
        right[out] = ((_with_one(inputs[out]) @ weights > 0) == (labels[out] > 0)).double()
    shares = _by_photo(right[: len(real)], of_real), _by_photo(right[len(real) :], of_made)
    accuracy = torch.stack([share.mean() for share in shares]).mean()
    variance = torch.stack([share.var() / len(share) for share in shares]).sum() / 4
    return TwoSample(accuracy.item(), variance.sqrt().item())


def _fitted(inputs: Tensor, labels: Tensor) -> Tensor:
    """Ridge logistic regression in which both classes weigh the same: inputs (N, D) → (D + 1,)."""
    scale = inputs.std(0) + 1e-6
    x = _with_one((inputs - inputs.mean(0)) / scale)
    shares = labels.mean(), 1 - labels.mean()
    importance = torch.where(labels > 0, 0.5 / shares[0], 0.5 / shares[1]) / len(labels)
    ridge = RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    ridge[-1, -1] = 1e-6
    weights: Tensor = x.new_zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        told = (x @ weights).sigmoid()
        gradient = x.T @ (importance * (told - labels)) + ridge @ weights
        curvature = (x.T * (importance * (told * (1 - told) + 1e-3))) @ x + ridge
        step: Tensor = torch.linalg.solve(curvature, gradient)
        weights = weights - step
    unscaled = weights[:-1] / scale
    return torch.cat([unscaled, weights[-1:] - (unscaled @ inputs.mean(0))])


def _with_one(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)


def _places(photos: list[int]) -> Tensor:
    """Photos counted through from 0."""
    places: Tensor = torch.unique(torch.tensor(photos), return_inverse=True)[1]
    return places


def _by_photo(right: Tensor, places: Tensor) -> Tensor:
    count = int(places.max()) + 1
    sums, numbers = torch.zeros(2, count, dtype=right.dtype)
    shares: Tensor = sums.index_add(0, places, right) / numbers.index_add(0, places, torch.ones_like(right))
    return shares
