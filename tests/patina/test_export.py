"""Every export format, read back by its library or as its layout is documented."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import anyio
import datasets
import lmdb
import numpy as np
import pytest
import webdataset
from numpy.typing import NDArray
from PIL import Image

from patina import AsyncClient, Client
from patina.client import Job
from patina.errors import ServiceError
from tests.support.local_service import LocalService, TrainedModel


@pytest.fixture(scope="module")
def job(trained: TrainedModel) -> Job:
    return Client(trained.url).jobs.get(trained.job)


@pytest.fixture(scope="module")
def original(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job's own files, as downloaded without an export."""
    folder = tmp_path_factory.mktemp("plain")
    job.download(folder, hr=True)
    return folder


def read_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def read_pixels(file: Path | bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file) if isinstance(file, bytes) else file))


KEYS = ["0_0", "0_1", "1_0", "1_1"]


def test_paired_folders(job: Job, original: Path, tmp_path: Path) -> None:
    assert job.export(tmp_path) == {None: 4}  # the default is BasicSR's folders
    # As `paired_paths_from_meta_info_file` and `paired_paths_from_folder` of BasicSR and traiNNer-redux find them.
    named = [line.split(" ")[0] for line in (tmp_path / "meta_info.txt").read_text().splitlines()]
    assert named == [f"{key}.png" for key in KEYS]
    assert sorted(path.name for path in (tmp_path / "hr").iterdir()) == named
    assert sorted(path.name for path in (tmp_path / "lr").iterdir()) == named
    # As `RealESRGANPairedDataset` and neosr's `paired` find them.
    pairs = [line.strip().split(", ") for line in (tmp_path / "meta_info_pairs.txt").read_text().splitlines()]
    assert pairs == [[name, name] for name in named]
    for name, line in zip(named, read_lines(original), strict=True):
        hr, lr = read_pixels(tmp_path / "hr" / name), read_pixels(tmp_path / "lr" / name)
        np.testing.assert_array_equal(lr, read_pixels(original / line["lr"]))
        np.testing.assert_array_equal(hr, read_pixels(original / line["hr"]))
        assert hr.shape == (4 * lr.shape[0], 4 * lr.shape[1], 3)
        assert f"{name} ({hr.shape[0]},{hr.shape[1]},3)\n" in (tmp_path / "meta_info.txt").read_text()
    assert (tmp_path / "hr/0_0.png").stat().st_ino == (tmp_path / "hr/0_1.png").stat().st_ino
    assert [line["lr"] for line in read_lines(tmp_path)] == [line["lr"] for line in read_lines(original)]


def test_lmdb(job: Job, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patina.export.lmdb.INITIAL_MAP_SIZE", 2**16)  # it must grow
    for _ in range(2):  # the second export replaces the first
        job.export(tmp_path, "lmdb")
    images = {}
    for role in ("hr", "lr"):
        # As `paired_paths_from_lmdb` and the `lmdb` file client of BasicSR read it.
        keys = [line.split(".")[0] for line in (tmp_path / f"{role}.lmdb/meta_info.txt").read_text().splitlines()]
        assert keys == KEYS
        with lmdb.open(str(tmp_path / f"{role}.lmdb"), readonly=True, lock=False, readahead=False) as environment:
            assert environment.stat()["entries"] == 4
            with environment.begin() as transaction:
                images[role] = {key: read_pixels(bytes(transaction.get(key.encode()) or b"")) for key in keys}
    for key, line in zip(KEYS, read_lines(original), strict=True):
        np.testing.assert_array_equal(images["hr"][key], read_pixels(original / line["hr"]))
        np.testing.assert_array_equal(images["lr"][key], read_pixels(original / line["lr"]))
    height, width, _ = images["lr"]["1_1"].shape
    assert f"1_1.png ({height},{width},3) 1\n" in (tmp_path / "lr.lmdb/meta_info.txt").read_text()


def test_parquet(job: Job, original: Path, tmp_path: Path) -> None:
    job.export(tmp_path / "cameras", "parquet", shard_size=3)
    assert sorted(path.name for path in (tmp_path / "cameras/data").iterdir()) == [
        "train-00000.parquet",
        "train-00001.parquet",
    ]
    read = datasets.load_dataset(str(tmp_path / "cameras"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(read) == 4
    for row, line in zip(read, read_lines(original), strict=True):
        np.testing.assert_array_equal(np.asarray(row["hr"]), read_pixels(original / line["hr"]))
        np.testing.assert_array_equal(np.asarray(row["lr"]), read_pixels(original / line["lr"]))
        np.testing.assert_array_equal(np.float32(row["kernel"]), np.load(original / line["kernel"]))
        np.testing.assert_array_equal(np.load(io.BytesIO(row["noise"])), np.load(original / line["noise"]))
        assert {name: row[name] for name in ("source", "sample", "seed", "scale", "kernel_origin", "model")} == {
            name: line[name] for name in ("source", "sample", "seed", "scale", "kernel_origin", "model")
        }
    card = datasets.load_dataset_builder(str(tmp_path / "cameras")).config
    assert card.name == "default"


def test_webdataset_with_a_split(job: Job, original: Path, tmp_path: Path) -> None:
    counts = job.export(tmp_path, "webdataset", shard_size=1, validation=0.5)
    assert sum(counts.values()) == 4
    read: dict[str, Any] = {}
    for split, count in counts.items():
        paths = sorted(str(path) for path in tmp_path.glob(f"{split}-*.tar"))
        assert len(paths) == max(count, 1)
        read |= {
            sample["__key__"]: (split, sample)
            for sample in webdataset.WebDataset(paths, shardshuffle=False, empty_check=False).decode("rgb8")
        }
    assert sorted(read) == KEYS
    for key, line in zip(KEYS, read_lines(original), strict=True):
        split, sample = read[key]
        assert split == ("validation" if int(line["source_sha256"][:8], 16) < 2**31 else "train")
        np.testing.assert_array_equal(sample["hr.png"], read_pixels(original / line["hr"]))
        np.testing.assert_array_equal(sample["noise.npy"], np.load(original / line["noise"]))


def test_folders_with_a_split(job: Job, tmp_path: Path) -> None:
    counts = job.export(tmp_path, validation=0.5)
    names = [path.name for split in counts for path in (tmp_path / str(split) / "lr").iterdir()]
    assert sorted(names) == [f"{key}.png" for key in KEYS]


def test_plain_archives(job: Job, original: Path, tmp_path: Path) -> None:
    for file_format in ("zip", "tar"):
        job.export(tmp_path, file_format)
    with zipfile.ZipFile(tmp_path / f"{job.id}.zip") as zipped, tarfile.open(tmp_path / f"{job.id}.tar") as tarred:
        names = {path.relative_to(original).as_posix() for path in original.rglob("*") if path.is_file()}
        assert set(zipped.namelist()) == set(tarred.getnames()) == names


def test_dataset_card_describes_the_pairs(job: Job, tmp_path: Path) -> None:
    job.export(tmp_path / "my camera")
    card = (tmp_path / "my camera/README.md").read_text()
    assert card.startswith('---\npretty_name: "my camera"\n')
    for text in ("4 pairs", "4 times smaller", str(job.model), "2 samples of each", "seed 7", "only 4 real photos"):
        assert text in card, card


def test_async_export(trained: TrainedModel, tmp_path: Path) -> None:
    async def export() -> dict[str | None, int]:
        async with AsyncClient(trained.url) as patina:
            return await (await patina.jobs.get(trained.job)).export(tmp_path, "parquet")

    assert anyio.run(export) == {None: 4}
    assert (tmp_path / "data/train-00000.parquet").exists()


def test_training_has_no_pairs(trained: TrainedModel, tmp_path: Path) -> None:
    with Client(trained.url) as patina:
        training = patina.jobs.list(limit=1, kind="train")[0]
        with pytest.raises(ServiceError, match="no archive"):
            training.export(tmp_path)


def test_export_command(service: LocalService, trained: TrainedModel, tmp_path: Path) -> None:
    done = service.command("export", trained.job, str(tmp_path / "out"), "--as", "lmdb", "--validation", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": str(tmp_path / "out"), "format": "lmdb", "pairs": {"train": 4}}
    assert (tmp_path / "out/train/hr.lmdb/data.mdb").exists()
    assert "4 pairs" in done.stderr
