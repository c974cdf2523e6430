"""Describes kinds of photos in one line."""

from __future__ import annotations

from collections.abc import Sequence

from patina.schemas import Kind


def describe_kinds(kinds: Sequence[Kind]) -> str:
    """Returns for instance "one: 2.5 × 1.7 px, 8.0" or "54%: 1.0 × 0.8 px, 3.7; 46%: 2.7 × 1.0 px, 3.5"."""
    return "; ".join(
        f"{'one' if len(kinds) == 1 else f'{kind.share:.0%}'}: {kind.major:.1f} × {kind.minor:.1f} px"
        + (f", {kind.noise:.1f}" if kind.noise is not None else "")
        for kind in kinds
    )
