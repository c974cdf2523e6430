"""Output of commands: results go to standard output as text or JSON, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patina.client.photo_files import LeftOut
from patina.errors import JobError, PatinaError, ServiceError
from patina.schemas import Alarm, FileWarning, PhotoChecks, RejectedFile

PIPE_WIDTH = 1000  # columns; in a pipe lines do not wrap, and tables take the width they need


def _create_console(file: TextIO) -> Console:
    return Console(file=file, width=None if file.isatty() else PIPE_WIDTH)


stderr = _create_console(sys.stderr)


class Output:
    """Prints a command's results. With `as_json`, standard output is one JSON document and text goes to stderr."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = stderr if as_json else _create_console(sys.stdout)

    def print(self, text: str | Text, *, wrap: bool = True) -> None:
        # A plain string is no markup: file names may hold brackets.
        self.console.print(text if isinstance(text, Text) else Text(text), soft_wrap=not wrap, highlight=False)

    def print_table(self, table: Table) -> None:
        if not self.as_json:
            self.console.print(table)

    def print_result(self, result: Any) -> None:
        if self.as_json:
            print_json(result)

    def print_alarms(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            color = "red" if alarm.severity == "error" else "yellow"
            self.print(Text.assemble((f"{alarm.severity}:", color), " ", alarm.message), wrap=False)


def print_json(result: Any) -> None:
    print(json.dumps(result, default=_to_json, ensure_ascii=False, indent=2), flush=True)


def print_error(subject: str, message: str) -> None:
    stderr.print(Text.assemble((f"{subject}:", "red"), " ", message), soft_wrap=True)


def print_rejected(rejected: Sequence[RejectedFile]) -> None:
    for file in rejected:
        print_error(f"rejected: {file.name}", file.message)


def print_warnings(warnings: Sequence[FileWarning]) -> None:
    for warning in warnings:
        stderr.print(Text.assemble((f"warning: {warning.name}:", "yellow"), " ", warning.message), soft_wrap=True)


def print_video_warnings(video: Path, warnings: Sequence[str]) -> None:
    for warning in warnings:
        stderr.print(Text.assemble((f"warning: {video}:", "yellow"), " ", warning), soft_wrap=True)


def print_checks(checks: PhotoChecks) -> None:
    for photo in checks.photos:
        kind = "left out:" if photo.left_out else "warning:"
        for finding in photo.findings:
            stderr.print(Text.assemble((kind, "yellow"), f" {photo.name}: {finding.message}"), soft_wrap=True)
    for mixture in checks.mixtures:
        stderr.print(Text.assemble(("warning:", "yellow"), f" {mixture.message}"), soft_wrap=True)


def print_left_out(left_out: Sequence[LeftOut]) -> None:
    for file in left_out:
        stderr.print(Text.assemble(("left out:", "yellow"), f" {file.path}: {file.reason}"), soft_wrap=True)


def error_to_json(error: Exception) -> dict[str, Any]:
    """Returns an error for `--json`, with the service's code or a code for a local error."""
    fields: dict[str, Any] = {"code": type(error).__name__, "message": str(error)}
    if isinstance(error, ServiceError):
        fields |= {"code": error.code, "status": error.status}
    elif isinstance(error, JobError):
        fields |= {"code": f"job_{error.status}", "job": error.job}
    elif isinstance(error, PatinaError):
        fields["code"] = "patina_error"
    return {"error": fields}


def _to_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, LeftOut):
        return {"path": str(value.path), "reason": value.reason}
    return str(value)
