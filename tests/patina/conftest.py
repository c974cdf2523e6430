"""Real services, in folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patina.client import Client
from patina.local.child_process import PYTHON
from patina.local.pidfile import Running, read_note

START_SECONDS = 60


class Up:
    """A `patina up` of the test's own."""

    def __init__(self, root: Path) -> None:
        self.data_dir = root / "data with a space"
        self.temporary = root / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")} | {
            "PATINA_DATA_DIR": str(self.data_dir),
            "TMPDIR": str(self.temporary),
        }
        self.process: subprocess.Popen[str] | None = None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of the same user, to its end."""
        return subprocess.run(
            [*PYTHON, "-m", "patina", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> Running:
        with (self.temporary.parent / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*PYTHON, "-m", "patina", "up", "--port", "0"],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            note = read_note(self.data_dir)
            if note and note.pid == self.process.pid:
                return note
            assert self.process.poll() is None, (self.temporary.parent / "log").read_text()
            time.sleep(0.05)
        raise AssertionError((self.temporary.parent / "log").read_text())

    def signal(self, number: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(40)


@pytest.fixture
def up() -> Iterator[Up]:
    # Not below pytest's own folder: a socket's path must stay short.
    root = Path(tempfile.mkdtemp(prefix="up-"))
    one = Up(root)
    yield one
    if one.process and one.process.poll() is None:
        one.process.terminate()
        one.process.wait(40)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def service() -> Iterator[Up]:
    """One service for all tests that only use it."""
    root = Path(tempfile.mkdtemp(prefix="up-"))
    one = Up(root)
    one.start()
    yield one
    one.signal(signal.SIGTERM)
    shutil.rmtree(root)


def photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Coarse random pictures: there is something to learn, and a PNG of each is small."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@dataclass(frozen=True)
class Trained:
    """A model that was trained for a moment, and triplets that it made."""

    url: str
    dataset: str
    model: str
    job: str  # of degrading `hr`, two samples each, seed 7
    hr: Path
    degrader: Path


@pytest.fixture(scope="session")
def trained(service: Up, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One for all tests that only use it."""
    folder = tmp_path_factory.mktemp("trained")
    lr, hr = photos(folder / "lr", 4, (48, 40)), photos(folder / "hr", 2, (150, 133))
    note = read_note(service.data_dir)
    assert note
    with Client(note.url) as patina:
        dataset = patina.datasets.create("shared", scale=4)
        dataset.upload("lr", lr)
        dataset.upload("hr", hr)
        training = dataset.train(max_steps=2).wait()
        job = dataset.degrade(hr, samples=2, seed=7).wait()
        assert training.model
        degrader = patina.models.get(training.model).download(folder)
    return Trained(note.url, dataset.id, training.model, job.id, hr, degrader)


def descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found |= set(new)
        waiting += new
    return found


def alive(pid: int) -> bool:
    """Dead ones that nobody has asked after do not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
