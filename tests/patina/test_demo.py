"""The demo from beginning to end, with next to no training."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.patina.conftest import Up


def test_the_demo_shows_all_that_it_promises(up: Up, tmp_path: Path) -> None:
    out = tmp_path / "demo output"
    shown = up.command("demo", "--minutes", "0.1", "--out", str(out))
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for promised in ("What was learned, against the truth", "all add up", "centred", "patina train MY_"):
        assert promised in shown.stdout
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.height > 2000
    assert len(list((out / "real-photos").iterdir())) == 56
    assert len(list((out / "triplets/lr").iterdir())) == 56
    assert len(list((out / "super-resolved/sr").iterdir())) == 7
    assert not up.data_dir.exists(), "the demo keeps to a folder of its own"
