"""`patina check`: what is in folders of photos, before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from patina.cli.app import cli
from patina.cli.main import main  # noqa: F401 - registers all commands
from tests.support.images import encode_image, make_zip
from tests.support.scenes import make_scene

SIDE = 200


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Real and clean photos with one of each fault."""
    real, clean = (tmp_path_factory.mktemp(name) for name in ("real", "clean"))
    scenes = [make_scene(SIDE, SIDE, seed) for seed in range(6)]
    small = Image.fromarray(scenes[5]).resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC)
    files = {
        real / "a.jpg": encode_image(scenes[0], "JPEG", quality=90),
        real / "b.png": encode_image(scenes[1]),
        real / "again.png": encode_image(scenes[1]),
        real / "c.png": encode_image(scenes[2][:, :180]),
        real / "enlarged.png": encode_image(np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))),
        real / "damaged.png": encode_image(scenes[3])[:5000],
        real / "small.png": encode_image(scenes[3][:20, :20]),
        real / "more.zip": make_zip({"x.png": encode_image(scenes[3])}),
        real / "notes.txt": b"notes",
        clean / "same.png": encode_image(scenes[1]),
        clean / "compressed.jpg": encode_image(scenes[4], "JPEG", quality=50),
        clean / "good.png": encode_image(scenes[3]),
    }
    for path, data in files.items():
        path.write_bytes(data)
    return real, clean


def test_each_file_is_counted_or_named(folders: tuple[Path, Path]) -> None:
    real, clean = folders
    result = CliRunner().invoke(cli, ["check", str(real), "--hr", str(clean), "--scale", "2", "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    lr, hr = report["lr"], report["hr"]

    def found(photos: list[dict[str, Any]]) -> dict[str, list[str]]:
        return {Path(photo["path"]).name: [one["code"] for one in photo["findings"]] for photo in photos}

    assert found(lr["photos"]) == {
        "a.jpg": [],
        "again.png": ["real_and_clean"],
        "b.png": ["real_and_clean", "duplicate"],
        "c.png": [],
        "enlarged.png": ["enlarged"],
    }
    assert [Path(photo["path"]).name for photo in lr["photos"] if photo["left_out"]] == ["enlarged.png"]
    assert lr["usable"] == 4
    rejected = {Path(file["path"]).name: file["code"] for file in lr["unusable"]}
    assert rejected == {"damaged.png": "corrupt_image", "more.zip": "archive", "small.png": "image_too_small"}
    assert [Path(file["path"]).name for file in lr["not_photos"]] == ["notes.txt"]
    assert found(hr["photos"]) == {"compressed.jpg": ["compressed"], "good.png": [], "same.png": ["real_and_clean"]}
    assert [photo["quality"] for photo in hr["photos"]] == [50, None, None]
    assert [mixture["code"] for mixture in report["mixtures"]] == ["mixed_formats"]


def test_the_table_says_what_is_usable(folders: tuple[Path, Path]) -> None:
    real, clean = folders
    result = CliRunner().invoke(cli, ["check", str(real), "--hr", str(clean), "--scale", "2"])
    assert result.exit_code == 1
    rows = {line[:12].strip(): line.split() for line in result.stdout.splitlines() if "photos  " in line[:14]}
    assert rows["Real photos"][2:6] == ["8", "4", "1", "3"]
    assert "180×200 to 200×200" in result.stdout
    assert "4 PNG, 1 JPEG" in result.stdout
    assert "left out: " in result.stdout
    assert "enlarged.png: The photo was enlarged (2 times)." in result.stdout


def test_photos_that_are_all_used_exit_with_0(tmp_path: Path) -> None:
    for seed in range(2):
        (tmp_path / f"{seed}.png").write_bytes(encode_image(make_scene(SIDE, SIDE, seed)))
    result = CliRunner().invoke(cli, ["check", str(tmp_path)])
    assert result.exit_code == 0
    assert "A training uses all photos." in result.stdout


def test_a_folder_must_be_named() -> None:
    assert CliRunner().invoke(cli, ["check"]).exit_code == 2
