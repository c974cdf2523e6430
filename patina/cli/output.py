"""What commands say: results on standard output, in words or as JSON, and everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patina.client.schemas import Alarm, RejectedFile
from patina.errors import JobError, PatinaError, ServiceError

IN_A_PIPE = 1000  # columns: there a line stays a line, and a table takes what it needs


def _console(file: TextIO) -> Console:
    return Console(file=file, width=None if file.isatty() else IN_A_PIPE)


errors = _console(sys.stderr)


class Output:
    """With `as_json`, the words go to standard error too, so that standard output is one JSON document."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = errors if as_json else _console(sys.stdout)

    def say(self, words: str | Text, *, wrap: bool = True) -> None:
        # Not as markup: names of files may hold brackets.
        self.console.print(words if isinstance(words, Text) else Text(words), soft_wrap=not wrap, highlight=False)

    def table(self, table: Table) -> None:
        if not self.as_json:
            self.console.print(table)

    def result(self, result: Any) -> None:
        if self.as_json:
            print_json(result)

    def alarms(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            colour = "red" if alarm.severity == "alarm" else "yellow"
            self.say(Text.assemble((f"{alarm.severity}:", colour), " ", alarm.message), wrap=False)


def print_json(result: Any) -> None:
    print(json.dumps(result, default=_as_json, ensure_ascii=False, indent=2), flush=True)


def complain(about: str, message: str) -> None:
    errors.print(Text.assemble((f"{about}:", "red"), " ", message), soft_wrap=True)


def complain_of(rejected: Sequence[RejectedFile]) -> None:
    for file in rejected:
        complain(f"not taken: {file.name}", file.message)


def error_json(error: Exception) -> dict[str, Any]:
    """An error for `--json`: with the service's code, or a name for what went wrong here."""
    told: dict[str, Any] = {"code": type(error).__name__, "message": str(error)}
    if isinstance(error, ServiceError):
        told |= {"code": error.code, "status": error.status}
    elif isinstance(error, JobError):
        told |= {"code": f"job_{error.status}", "job": error.job}
    elif isinstance(error, PatinaError):
        told["code"] = "patina_error"
    return {"error": told}


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
