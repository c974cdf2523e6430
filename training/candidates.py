"""The degradations that matching goes through, of which the best is kept."""

from __future__ import annotations

from training.config import Matching
from training.report.evaluator import Judge
from training.state import State


def candidates_at(matching: Matching, done: float) -> int:
    """How many candidates are to have been judged when so much of the matching is done: the first when it has settled,
    the last at its end."""
    settled = (done - matching.judged_from) / (1 - matching.judged_from)
    return min(matching.candidates, int(settled * (matching.candidates - 1)) + 1) if settled >= 0 else 0


def keep_the_best(state: State, judge: Judge) -> float:
    """Judges the degradation as it is; after the last of the candidates the best takes its place. Returns the score."""
    assert state.recipe.matching is not None
    score = judge.score(state.degradation)
    if score < state.best_score:
        state.best_score = score
        state.best = {name: tensor.detach().clone() for name, tensor in state.degradation.state_dict().items()}
    if state.judged == state.recipe.matching.candidates and state.best:
        state.degradation.load_state_dict(state.best)
    return score
