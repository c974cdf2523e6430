"""`patina token`: who may call the service. Works on the records themselves, so only where they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from config.settings import settings
from patina.cli.app import example
from patina.cli.output import Output, errors
from patina.errors import PatinaError

if TYPE_CHECKING:
    from store.repositories.tokens import TokenRepository

tokens = typer.Typer(
    help="Make, list and revoke the tokens that calls from other computers need.",
    epilog=example("patina token create anna"),
    no_args_is_help=True,
)


class Scope(StrEnum):
    read = "read"
    submit = "submit"
    admin = "admin"


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    scope: Annotated[
        Scope,
        typer.Option(help="read: look; submit: also make and change one's own; admin: everything of everybody."),
    ] = Scope.submit,
) -> None:
    """Make a token and print it, this once: only its hash is kept. For example: patina token create anna"""
    with _repository() as repository:
        made = repository.create(name, scope)
    print(made.text)
    errors.print(
        f"Keep it safe. Used as PATINA_TOKEN by this command line; revoked by: patina token revoke {made.token.id}",
        soft_wrap=True,
        highlight=False,
    )


@tokens.command("list")
def list_tokens() -> None:
    """List all tokens, revoked ones too; their secrets are not known here."""
    id_column = Column("ID", no_wrap=True, min_width=26)
    table = Table(id_column, "Name", "Scope", "Made", "Revoked", box=None, pad_edge=False)
    with _repository() as repository:
        for token in repository.all():
            table.add_row(token.id, Text(token.name), token.scope, _day(token.created), _day(token.revoked))
    Output().table(table)


@tokens.command()
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID", help="As `patina token list` shows it.")]) -> None:
    """Let a token open nothing any more. What belongs to it stays, and is seen by admins."""
    with _repository() as repository:
        if not repository.revoke(token_id):
            raise PatinaError(f"There is no token {token_id!r}. All are listed by: patina token list")
    errors.print(f"Token {token_id} is revoked.", highlight=False)


@contextmanager
def _repository() -> Iterator[TokenRepository]:
    # Imported here: the other commands speak HTTP and need no database.
    from patina.local.local_store import records  # noqa: PLC0415
    from store.repositories.tokens import TokenRepository  # noqa: PLC0415

    # Tokens may be made before the service's first start.
    with records(settings(), "token") as store, store.database.write() as session:
        yield TokenRepository(session)


def _day(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
