"""Progress on a terminal and in a pipe."""

from __future__ import annotations

import io

from rich.console import Console

from patina.client.progress import track_progress


def show_upload(terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with track_progress(console, "Upload") as tracker:
        for done in range(1, 5):
            tracker.show_count(done, 4)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_terminal_shows_a_bar() -> None:
    output = show_upload(terminal=True)
    assert "━━━" in output
    assert "4/4 files" in output


def test_pipe_gets_few_plain_lines() -> None:
    assert show_upload(terminal=False).startswith("Upload: 4/4 files")
    assert len(show_upload(terminal=False).splitlines()) == 1
    assert "\x1b" not in show_upload(terminal=False)
