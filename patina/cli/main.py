"""The entry point of the command line: signals, settings errors and exit statuses."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from pydantic import ValidationError

from config.settings import settings
from patina.cli import (  # noqa: F401 - each adds its commands
    check,
    datasets,
    jobs,
    maintenance,
    models,
    service,
    submit,
    worker,
)
from patina.cli.app import FAILED, UNAVAILABLE, cli
from patina.cli.output import error_to_json, print_error, print_json
from patina.cli.tokens import tokens
from patina.errors import PatinaError, ServiceUnavailableError

cli.add_typer(tokens, name="token")


def main() -> NoReturn:
    _enable_ctrl_c()
    try:
        settings()
    except ValidationError as error:
        for problem in error.errors():
            print_error(f"PATINA_{'_'.join(map(str, problem['loc'])).upper()}", problem["msg"])
        sys.exit(FAILED)
    status = FAILED
    try:
        cli()
    except (PatinaError, OSError) as error:
        print_error("patina", str(error))
        if "--json" in sys.argv:
            print_json(error_to_json(error))
        status = UNAVAILABLE if isinstance(error, ServiceUnavailableError) else FAILED
    sys.exit(status)


def _enable_ctrl_c() -> None:
    """Makes Ctrl-C work at a terminal, even if the parent process ignores SIGINT.

    Without a terminal an inherited ignore stays. A script's `patina train … &` gets it from the shell, because
    Ctrl-C is then meant for the script's foreground command.
    """
    if sys.stdin and sys.stdin.isatty():
        signal.signal(signal.SIGINT, signal.default_int_handler)
