"""The whole demo, with six seconds of training."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.support.local_service import LocalService


def test_demo_trains_scores_and_draws(up: LocalService, tmp_path: Path) -> None:
    out = tmp_path / "demo output"
    done = up.command("demo", "--minutes", "0.1", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("Learned degradation against the ground truth", "all consistent", "centered", "patina train MY_"):
        assert text in done.stdout
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.height > 2000
    assert len(list((out / "real-photos").iterdir())) == 56
    assert len(list((out / "triplets/lr").iterdir())) == 56
    assert len(list((out / "super-resolved/sr").iterdir())) == 7
    assert not up.data_dir.exists(), "the demo has its own data folder"
