"""Where the command line begins and how it ends."""

from __future__ import annotations

import sys
from typing import NoReturn

from pydantic import ValidationError

from config.settings import settings
from patina.cli import datasets, jobs, maintenance, models, service, submit  # noqa: F401 - each adds its commands
from patina.cli.app import FAILED, LOST, cli
from patina.cli.output import complain, error_json, print_json
from patina.cli.tokens import tokens
from patina.errors import LostServiceError, PatinaError

cli.add_typer(tokens, name="token")


def main() -> NoReturn:
    try:
        settings()
    except ValidationError as error:
        for wrong in error.errors():
            complain(f"PATINA_{'_'.join(map(str, wrong['loc'])).upper()}", wrong["msg"])
        sys.exit(FAILED)
    status = FAILED
    try:
        cli()
    except (PatinaError, OSError) as error:
        complain("patina", str(error))
        if "--json" in sys.argv:
            print_json(error_json(error))
        status = LOST if isinstance(error, LostServiceError) else FAILED
    sys.exit(status)
