"""Separates the estimator's error on a scene from how the photos of the scene differ.

The content of a scene misleads the estimator by about the same amount in each of its photos: a random effect. The mean
of the scene's photos does not show that amount where photos are of kinds, for instance sharp and shaken: a scene with
three shaken photos of four is blurrier indeed. So the prediction for photo i of scene s is modeled as

    p_i = m_k + b_s + e_i

with its kind k, the kind's mean m_k, the scene's effect b_s and the rest e_i ~ N(0, C_k). b_s has a multivariate t
distribution, because some scenes mislead far more than others. Its scale is known beforehand from clean photos with
known kernels. All is fitted by variational EM (Bishop, Pattern Recognition and Machine Learning, chapter 10).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

KINDS = 2  # of kernels; more are seldom distinguishable in photos
COMPONENTS = 4  # principal components of estimated effects; the others hardly vary
DEGREES_OF_FREEDOM = 4.0  # of the effects' t distribution
ITERATIONS = 60
PRIOR_SHARE = 0.25  # of the known scale in the effects' scale
POOLED_SHARE = 0.04  # of all photos; that share of a kind is taken to spread as the others do
POOLED_SPREAD = 0.3  # variance of these, relative to the mean over kinds
MIN_VARIANCE = 1e-4  # keeps covariances invertible


class _Effects(NamedTuple):
    """The posterior of the scenes' effects in D components."""

    mean: Tensor  # (scenes, D)
    covariance: Tensor  # (scenes, D, D)


def remove_scene_effects(
    predicted: Tensor, group: Tensor, error_covariance: Tensor, generator: torch.Generator
) -> Tensor:
    """Removes scenes' effects from predicted (N, F); group (N,) numbers the scenes from 0.

    `error_covariance` (F, F) is that of the estimator's mean errors on other scenes. Effects are drawn from their
    posterior instead of set to its mean: then the result has the distribution of m_k + e, however few photos a scene
    has. The result is on the device of `predicted`.
    """
    values = predicted.double().cpu()
    centered, group = values - values.mean(0), group.cpu()
    axes = torch.linalg.svd(centered, full_matrices=False)[2][:COMPONENTS]  # (D, F)
    scale = axes @ error_covariance.double().cpu() @ axes.T * (1 - 2 / DEGREES_OF_FREEDOM)
    effects = _estimate_effects(centered @ axes.T, group, scale)
    factor = torch.linalg.cholesky(effects.covariance)
    white = torch.randn(effects.mean.shape, generator=generator, dtype=torch.float64)
    drawn = effects.mean + (factor @ white[..., None])[..., 0]
    corrected: Tensor = (values - drawn[group] @ axes).to(predicted)
    return corrected


def _estimate_effects(values: Tensor, group: Tensor, known_scale: Tensor) -> _Effects:
    """Estimates effects from values (N, D) of scenes `group` (N,); known_scale is (D, D)."""
    (num_values, size), count = values.shape, torch.bincount(group)
    identity = MIN_VARIANCE * torch.eye(size, dtype=values.dtype)
    known_scale = known_scale + identity
    # The kinds start at both ends of the first component.
    order = values[:, 0].argsort()
    mean = torch.stack([part.mean(0) for part in values[order].chunk(KINDS)])  # (kinds, D)
    covariance = (values.T @ values / num_values / KINDS**2 + identity).expand(KINDS, -1, -1)
    share = torch.full((KINDS,), 1 / KINDS, dtype=values.dtype)
    scale, weight = known_scale, torch.ones(len(count), dtype=values.dtype)  # weight: of a scene's scale, inverse
    effects = _Effects(values.new_zeros(len(count), size), scale.expand(len(count), -1, -1))
    shows_effect = (count > 1).to(values.dtype)  # a scene of one photo says nothing about the scale
    pooled = POOLED_SHARE * num_values
    for _ in range(ITERATIONS):
        # Kinds of the photos, given the effects.
        precision = torch.linalg.inv(covariance)
        residual = (values - effects.mean[group])[:, None] - mean  # (N, kinds, D)
        distance = torch.einsum("nkd,kde,nke->nk", residual, precision, residual)
        distance = distance + torch.einsum("kde,sed->sk", precision, effects.covariance)[group]
        kind = (share.log() - 0.5 * (distance + torch.logdet(covariance))).softmax(1)  # (N, kinds)

        # Effects, given the kinds.
        scale_precision = torch.linalg.inv(scale)
        total_precision = weight[:, None, None] * scale_precision + _sum_by_group(
            torch.einsum("nk,kde->nde", kind, precision), group, count
        )
        pull = torch.einsum("nk,kde,nke->nd", kind, precision, values[:, None] - mean)
        posterior = torch.linalg.inv(total_precision)
        effects = _Effects((posterior @ _sum_by_group(pull, group, count)[..., None])[..., 0], posterior)
        square = effects.mean[:, :, None] * effects.mean[:, None] + posterior  # (scenes, D, D)
        weight = (DEGREES_OF_FREEDOM + size) / (DEGREES_OF_FREEDOM + (square * scale_precision).sum((1, 2)))

        # Shares, means and covariances of the kinds, and the scale of the effects.
        number = kind.sum(0) + 1e-6
        share = number / number.sum()
        mean = torch.einsum("nk,nd->kd", kind, values - effects.mean[group]) / number[:, None]
        residual = (values - effects.mean[group])[:, None] - mean
        scatter = torch.einsum("nk,nkd,nke->kde", kind, residual, residual)
        scatter = scatter + torch.einsum("nk,nde->kde", kind, posterior[group])
        prior = pooled * POOLED_SPREAD * scatter.sum(0) / num_values
        covariance = (scatter + prior) / (number + pooled)[:, None, None] + identity
        known = PRIOR_SHARE / (1 - PRIOR_SHARE) * len(count)
        shown = torch.einsum("s,sde->de", weight * shows_effect, square)
        scale = (shown + known * known_scale) / (shows_effect.sum() + known)
    return effects


def _sum_by_group(values: Tensor, group: Tensor, count: Tensor) -> Tensor:
    """Sums values (N, …) by group (N,), (groups, …)."""
    return values.new_zeros(len(count), *values.shape[1:]).index_add_(0, group, values)
