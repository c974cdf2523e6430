"""The Typer app, and the arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FAILED, UNAVAILABLE, INTERRUPTED = 1, 3, 130  # exit statuses
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

cli = typer.Typer(
    name="patina",
    help="Learn a camera's degradation from unpaired photos, apply it to clean images, and super-resolve its photos.",
    epilog="Exit status: 0 success, 1 error or partial failure, 2 wrong usage, 3 service unavailable, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar="PATINA_API",
        help="URL of the service. Default: the `patina up` that runs here, else a temporary service.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, for scripts.")]
Photos = Annotated[list[Path], typer.Argument(help="Photos, folders of photos, or archives (.zip, .tar).")]
FromDataset = Annotated[
    str | None, typer.Option("--dataset", help="Use this dataset's newest model. Default: the newest model of all.")
]
FromModel = Annotated[str | None, typer.Option("--model", help="Use this model instead of the dataset's newest.")]


def format_example(*lines: str) -> str:
    """Formats a command's epilog with an example."""
    return "Example: " + "\n\n".join(lines)


def check_picture_name(file: Path | None) -> Path | None:
    """Refuses a file name without a picture suffix before any work is done."""
    if file and file.suffix.lower() not in PICTURE_SUFFIXES:
        raise typer.BadParameter(f"a picture's name ends in one of {', '.join(PICTURE_SUFFIXES)}")
    return file


def require_positive(value: float | None) -> float | None:
    """Refuses 0, which `min=0` accepts, before photos are sent for nothing."""
    if value is not None and not value > 0:
        raise typer.BadParameter("it must be more than 0")
    return value
