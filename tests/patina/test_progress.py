"""How far a thing is, on a terminal and in a pipe."""

from __future__ import annotations

import io

from rich.console import Console

from patina.client.progress import tracking


def shown(terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with tracking(console, "Upload") as tracker:
        for done in range(1, 5):
            tracker.count(done, 4)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_on_a_terminal_there_is_a_bar() -> None:
    drawn = shown(terminal=True)
    assert "━━━" in drawn
    assert "4/4 files" in drawn


def test_in_a_pipe_there_are_plain_lines_and_few() -> None:
    assert shown(terminal=False).startswith("Upload: 4/4 files")
    assert len(shown(terminal=False).splitlines()) == 1
    assert "\x1b" not in shown(terminal=False)
