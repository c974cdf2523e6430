"""`patina.bulk`: images of any source become shards with the service's bytes, and a run continues where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from imaging.image_files import read_rgb
from imaging.png import write_png
from models.checkpoint import save_degradation
from models.degradation import Degradation
from patina import Degrader
from patina.bulk import BulkStats, degrade_all, run
from patina.bulk.degrade_shard import BulkTask, ShardDegrader
from patina.bulk.sources import Shard
from patina.errors import PatinaError
from training.presets import get_preset

SEED, SAMPLES = 7, 2
ROOT = Path(__file__).parents[2]

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    degradation = Degradation(get_preset("default", 4, device="cpu").degradation)
    file = tmp_path_factory.mktemp("model") / "degrader.safetensors"
    save_degradation(degradation, file)
    return file


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos in two folders, two of them with one name, and a damaged file."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in ("a.jpg", "a.png", "b.c.png", "sub/d.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 52, 3), np.uint8)).save(folder / name)
    (folder / "sub" / "e.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def run_here(shards: Sequence[Shard], task: BulkTask, *_: object) -> Iterator[dict[str, int]]:
    """Stands in for Ray."""
    degrader = ShardDegrader(task)
    yield from map(degrader.degrade, shards)


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_run_on_ray", run_here)


def degrade(source: Path | str, destination: Path | str, model: Path, **options: Any) -> BulkStats:
    defaults = {"seed": SEED, "samples": SAMPLES, "images_per_shard": 2}
    return degrade_all(str(source), str(destination), str(model), **defaults | options)


def read_shards(folder: Path) -> Files:
    """Returns the members of all shards by name."""
    found: Files = {}
    for file in sorted(folder.glob("shard-*.tar")):
        with tarfile.open(file) as archive:
            found |= {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    return found


def save_npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def expected_files(photos: Path, model: Path) -> Files:
    """Returns what the service gives, by the Degrader."""
    degrader, files = Degrader.load(model), Files()
    keys = {"a.jpg": "a", "a.png": "a-2", "b.c.png": "b%2Ec", "sub/d.png": "sub/d"}
    for name, key in keys.items():
        sha256 = hashlib.sha256((photos / name).read_bytes()).hexdigest()
        for sample in range(SAMPLES):
            triplet = degrader.triplet(read_rgb(photos / name), seed=SEED, source_sha256=sha256, sample=sample)
            files[f"{key}_{sample}.lr.png"] = write_png(triplet.lr)
            files[f"{key}_{sample}.kernel.npy"] = save_npy(triplet.kernel)
            files[f"{key}_{sample}.noise.npy"] = save_npy(triplet.noise)
    return files


def without_lines(files: Files) -> Files:
    return {name: data for name, data in files.items() if not name.endswith(".json")}


def test_folders_become_shards_with_the_services_bytes(photos: Path, model: Path, tmp_path: Path) -> None:
    assert degrade(photos, tmp_path, model) == BulkStats(shards=3, done_before=0, images=4, failed=1)
    files = read_shards(tmp_path)
    assert without_lines(files) == expected_files(photos, model)
    line = json.loads(files["sub/d_1.json"])
    assert (line["source"], line["sample"], line["seed"], line["scale"]) == ("sub/d.png", 1, SEED, 4)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_packed_sources_and_parquet_results(photos: Path, model: Path, tmp_path: Path, kind: str) -> None:
    names = ("a.jpg", "b.c.png", "sub/d.png")
    source = tmp_path / f"photos.{'tar' if kind == 'webdataset' else 'parquet'}"
    if kind == "webdataset":
        with tarfile.open(source, "w") as archive:
            for name in names:
                archive.add(photos / name, name)
    else:
        rows = [{"photo": {"bytes": (photos / name).read_bytes(), "path": name}} for name in names]
        parquet.write_table(pyarrow.Table.from_pylist(rows), source)
    results = tmp_path / "results"
    stats = degrade(source, results, model, output="parquet", column="photo")
    assert stats == BulkStats(shards=1, done_before=0, images=3, failed=0)
    rows = parquet.read_table(results / "shard-000000.parquet").to_pylist()
    expected = expected_files(photos, model)
    assert len(rows) == len(names) * SAMPLES
    for row in rows:
        for column, suffix in (("lr", "png"), ("kernel", "npy"), ("noise", "npy")):
            assert row[column] == expected[f"{row['key']}.{column}.{suffix}"]


def test_a_run_continues_where_it_stopped(photos: Path, model: Path, tmp_path: Path) -> None:
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    degrade(photos, whole, model)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        degrade(photos, interrupted, model, on_shard=stop)
    (interrupted / "shard-000002.tar.part").write_bytes(b"half of it")
    with pytest.raises(PatinaError, match="another seed"):
        degrade(photos, interrupted, model, seed=8)
    assert degrade(photos, interrupted, model) == BulkStats(shards=3, done_before=2, images=0, failed=1)
    for file in whole.glob("*.tar"):
        assert (interrupted / file.name).read_bytes() == file.read_bytes()
    assert degrade(photos, interrupted, model) == BulkStats(shards=3, done_before=3, images=0, failed=0)


def test_other_file_systems(photos: Path, model: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(photos), "/bulk/photos", recursive=True)
    degrade("memory://bulk/photos", "memory://bulk/results", model)
    memory.get("/bulk/results", str(tmp_path), recursive=True)
    assert without_lines(read_shards(tmp_path / "results")) == expected_files(photos, model)


def test_wrong_sources_and_columns_are_explained(photos: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PatinaError, match=r"no image, \.tar or \.parquet"):
        degrade(tmp_path / "empty", tmp_path / "results", model)
    source = tmp_path / "photos.parquet"
    parquet.write_table(pyarrow.table({"picture": [b""]}), source)
    with pytest.raises(PatinaError, match="no column 'image', only picture"):
        degrade(source, tmp_path / "results", model)


def test_the_example_on_ray(photos: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray, which `make` does not install")
    command = [sys.executable, "examples/degrade_in_bulk.py", str(photos), str(tmp_path), str(model)]
    options = ["--seed", str(SEED), "--samples", str(SAMPLES), "--images-per-shard", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 images degraded, 1 left out; 0 shards were there before" in done.stdout
    assert without_lines(read_shards(tmp_path)) == expected_files(photos, model)
