"""The folder of a film that is being super-resolved: its finished parts, so that an interrupted run goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patina.errors import PatinaError

PLAN = "film.json"
SUFFIX = ".parts"


@dataclass(frozen=True)
class Part:
    """A finished part: its encoded frames, and their time stamps in the film's time base."""

    path: Path
    stamps: list[int]


class PartsFolder:
    """A folder beside the film. A part counts as soon as the file with its time stamps is there."""

    def __init__(self, film: Path):
        self.folder = film.with_name(film.name + SUFFIX)

    def read_plan(self) -> dict[str, Any]:
        """Returns what the parts were made of and how; empty for a new film."""
        try:
            plan: dict[str, Any] = json.loads((self.folder / PLAN).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise self._unreadable() from error
        return plan

    def require_plan(self, plan: dict[str, Any]) -> None:
        """Records the plan of a new film. Raises `PatinaError` if parts of another plan are there."""
        known = self.read_plan()
        if known and known != plan:
            changed = ", ".join(sorted(key for key in plan.keys() | known.keys() if plan.get(key) != known.get(key)))
            raise PatinaError(
                f"{self.folder} has parts of a run with another {changed}. Repeat that run, or delete the folder."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / PLAN, plan)
        for unfinished in self.folder.glob("*.work"):
            shutil.rmtree(unfinished)

    def list_parts(self) -> list[Part]:
        """Returns the finished parts from the first on, without gaps."""
        parts: list[Part] = []
        while (index := self._index(len(parts))).exists():
            try:
                stamps = [int(stamp) for stamp in json.loads(index.read_text())["stamps"]]
            except (ValueError, KeyError, TypeError) as error:
                raise self._unreadable() from error
            parts.append(Part(self.path(len(parts)), stamps))
        return parts

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06}.mkv"

    def work_folder(self, number: int) -> Path:
        """Creates an empty folder for a part's frames."""
        folder = self.folder / f"{number:06}.work"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        return folder

    def finish(self, number: int, stamps: list[int]) -> Part:
        """Records that the part's file is complete."""
        _write(self._index(number), {"stamps": stamps})
        return Part(self.path(number), stamps)

    def delete(self) -> None:
        shutil.rmtree(self.folder)

    def _index(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def _unreadable(self) -> PatinaError:
        return PatinaError(f"{self.folder} is damaged. Delete it to begin again.")


def _write(path: Path, content: dict[str, Any]) -> None:
    """A file that is there is complete, also after a power cut."""
    from patina.archive import write_atomically  # noqa: PLC0415

    write_atomically([json.dumps(content).encode()], target=path)
