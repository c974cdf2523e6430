"""The command itself, and the arguments and options that several of its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FAILED, LOST, INTERRUPTED = 1, 3, 130
PICTURES = (".png", ".jpg", ".jpeg", ".webp")

cli = typer.Typer(
    name="patina",
    help="Learns how real photos lost their quality, and wears clean images down in the same way.",
    epilog="Exit status: 0 done, 1 failed or refused, in part or whole, 2 wrong usage, 3 no answer from the service, "
    "130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar="PATINA_API",
        help="URL of the service. Unset: the one that `patina up` runs here, or one started for this command alone.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="What came of it as JSON on standard output, for scripts.")]
Photos = Annotated[list[Path], typer.Argument(help="Photos, folders of photos, or archives (.zip, .tar).")]
FromDataset = Annotated[
    str | None, typer.Option("--dataset", help="Dataset whose model is used. Unset: the one trained last.")
]
FromModel = Annotated[str | None, typer.Option("--model", help="One certain model, instead of the dataset's newest.")]


def example(*lines: str) -> str:
    """A command's epilog, with an example of its use."""
    return "Example: " + "\n\n".join(lines)


def picture(file: Path | None) -> Path | None:
    """Refuses at once what could not be drawn after all the work."""
    if file and file.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"a picture's name ends in one of {', '.join(PICTURES)}")
    return file


def above_zero(value: float | None) -> float | None:
    """Refuses 0, which a `min` would let pass, before photos are sent for nothing."""
    if value is not None and not value > 0:
        raise typer.BadParameter("it must be more than 0")
    return value
