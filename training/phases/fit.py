"""Second phase: estimators learn to tell degradations from what was simulated."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.estimator import Estimator
from training.optimization import set_rates, update
from training.phases.simulate import count
from training.presets import Matching
from training.state import Simulated, State

UPDATES = 16  # of small networks in one step, which so takes about as long as a step of large ones
EXAMPLES = 64  # photos in one update of an estimator
SEEN = 6  # of a photo's windows in one update, others in the next: from all of them it would know the photos by heart


def fit_step(state: State, matching: Matching, done: float) -> dict[str, float]:
    """Fits the estimators to what was simulated."""
    if not state.optimizers["estimators"].state:  # the first of these steps
        state.simulated = [Simulated.joined(state.simulated)]
        windows, kernel, noise, _ = (tensor.to(state.device) for tensor in state.simulated[0])
        for estimator in estimators(state):
            estimator.scale_to(windows.float(), kernel, noise)
    # Up for a tenth of the time, then down to 0 along a cosine.
    rate = matching.estimator_rate * min(1.0, 10 * done + 0.02) * (1 + math.cos(math.pi * done)) / 2
    set_rates(state.optimizers["estimators"], rate)
    losses = []
    for _ in range(UPDATES):
        loss = torch.stack([estimation(state, fold, EXAMPLES) for fold in range(matching.folds)]).mean()
        update(state.optimizers["estimators"], loss)
        losses.append(loss.item())
    return {"estimator": sum(losses) / UPDATES}


def estimation(state: State, fold: int, count: int, made: Simulated | None = None) -> Tensor:
    """How far the estimator of a fold is off, on simulated examples of the other folds and on photos just made."""
    estimator, examples = estimators(state)[fold], state.simulated[0]
    others = (examples.fold != fold).nonzero()[:, 0] if len(state.estimators) > 1 else torch.arange(len(examples.fold))
    some = others[torch.randint(len(others), (count,), generator=state.generators["estimator"])]
    batch = Simulated(*(tensor[some].to(state.device) for tensor in examples))
    if made:
        batch = Simulated.joined([batch, made])
    shape = batch.windows.shape[:2]
    seen = torch.rand(shape, generator=state.generators["estimator"]).argsort(1)[:, :SEEN, None].to(state.device)
    windows = batch.windows.take_along_dim(seen, 1).float()
    return functional.smooth_l1_loss(estimator(windows), estimator.scaled(batch.kernel, batch.noise))


def epochs(state: State) -> float:
    """How often each estimator has seen each of its examples."""
    moments = state.optimizers["estimators"].state
    updates = int(next(iter(moments.values()))["step"]) if moments else 0
    folds = len(state.estimators)
    return updates * EXAMPLES / (count(state) * max(1, folds - 1) / folds)


def estimators(state: State) -> list[Estimator]:
    return [estimator for estimator in state.estimators if isinstance(estimator, Estimator)]
