"""A `patina up` process of a test, and what tests ask about processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from patina.local.child_process import PYTHON
from patina.local.pidfile import RunningService, read_pidfile

START_TIMEOUT = 60


def enable_sigint() -> None:
    """Restores SIGINT in a child process; for `preexec_fn`.

    A shell starts `make test &` with SIGINT ignored, and children inherit that. A person at a terminal never has it.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class LocalService:
    """A `patina up` process in a folder below `root`."""

    def __init__(self, root: Path) -> None:
        self.data_dir = root / "data with a space"
        self.temporary = root / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.log = root / "log"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")} | {
            "PATINA_DATA_DIR": str(self.data_dir),
            "TMPDIR": str(self.temporary),
        }
        self.process: subprocess.Popen[str] | None = None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs another command of the same user to its end."""
        return subprocess.run(
            [*PYTHON, "-m", "patina", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> RunningService:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*PYTHON, "-m", "patina", "up", "--port", "0"],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            running = read_pidfile(self.data_dir)
            if running and running.pid == self.process.pid:
                return running
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def signal(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit status."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(40)


@dataclass(frozen=True)
class TrainedModel:
    """A model after two training steps, and the triplets that it generated."""

    url: str
    dataset: str
    model: str
    job: str  # degrades `hr`, two samples each, seed 7
    hr: Path
    degrader: Path


def normalize_output(result: subprocess.CompletedProcess[str]) -> str:
    """Returns a command's whole output with its line breaks removed."""
    return " ".join((result.stdout + result.stderr).split())


def list_descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    descendants: set[int] = set()
    queue = [pid]
    while queue:
        new = children.get(queue.pop(), [])
        descendants |= set(new)
        queue += new
    return descendants


def is_alive(pid: int) -> bool:
    """Returns whether a process runs; zombies do not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
