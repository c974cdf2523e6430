"""The lock files of the images hold the project's dependencies in the versions that it pins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pinned(text: str) -> dict[str, str]:
    """Returns the version of each package by its normalized name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


@pytest.mark.parametrize("image", ["api", "worker"])
def test_lock_matches_the_project_and_has_hashes(image: str) -> None:
    text = (ROOT / "locks" / f"{image}.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = pinned("\n".join(project["dependencies"]))
    if image == "worker":
        required |= pinned("\n".join(project["optional-dependencies"]["worker"]))
        required.pop("torch")  # comes from an index that the builder chooses
    lock, constraints = pinned(text), pinned((ROOT / "constraints.txt").read_text())
    assert required.items() <= lock.items(), "run: make lock"
    assert {name: lock[name] for name in lock if name in constraints}.items() <= constraints.items(), "run: make lock"
    for entry in re.split(r"\n(?=[a-z])", text.partition("make lock\n")[2]):
        assert "--hash=sha256:" in entry
