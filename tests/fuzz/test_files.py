"""Readers accept or reject every file of the fuzzers' corpus quickly and with little memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import fuzz
from bench.measure import read_peak_memory, read_resident_memory, reset_peak_memory
from fuzz.readers import READERS

CORPUS = Path(fuzz.__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_corpus_file_takes_little_time_and_memory(path: Path) -> None:
    reset_peak_memory()  # earlier tests had higher peaks
    began, before = time.process_time(), read_resident_memory()
    READERS[path.parent.name](path.read_bytes())
    assert time.process_time() - began < 5
    assert read_peak_memory() - before < 200 * 2**20


def test_every_reader_has_a_corpus() -> None:
    assert {path.parent.name for path in FILES} == set(READERS)
