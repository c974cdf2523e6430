"""`patina token`. It opens the database, so it runs on the service's machine."""

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
from patina.cli.app import format_example
from patina.cli.output import Output, stderr
from patina.errors import PatinaError

if TYPE_CHECKING:
    from store.repositories.tokens import TokenRepository

tokens = typer.Typer(
    help="Create, list and revoke the tokens that calls from other computers need.",
    epilog=format_example("patina token create alice"),
    no_args_is_help=True,
)


class Scope(StrEnum):
    read = "read"
    submit = "submit"
    admin = "admin"


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose token it is, or its purpose.")],
    scope: Annotated[
        Scope,
        typer.Option(help="read: view; submit: also create and change own resources; admin: access to everything."),
    ] = Scope.submit,
    max_priority: Annotated[
        int, typer.Option(min=-10, max=10, help="Highest priority that its jobs may ask for; admins may use any.")
    ] = 0,
) -> None:
    """Create a token and print it once; only its hash is stored. For example: patina token create alice"""
    with _repository() as repository:
        created = repository.create(name, scope, max_priority)
    print(created.secret)
    stderr.print(
        f"Store it safely. The command line reads PATINA_TOKEN. To revoke it: patina token revoke {created.token.id}",
        soft_wrap=True,
        highlight=False,
    )


@tokens.command("list")
def list_tokens() -> None:
    """List all tokens, also revoked ones, without their secrets."""
    id_column = Column("ID", no_wrap=True, min_width=26)
    table = Table(id_column, "Name", "Scope", "Created", "Revoked", box=None, pad_edge=False)
    with _repository() as repository:
        for token in repository.list_all():
            table.add_row(
                token.id, Text(token.name), token.scope, _format_day(token.created_at), _format_day(token.revoked_at)
            )
    Output().print_table(table)


@tokens.command()
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID", help="An ID from `patina token list`.")]) -> None:
    """Revoke a token. Its datasets and jobs stay; admins can see them."""
    with _repository() as repository:
        if not repository.revoke(token_id):
            raise PatinaError(f"There is no token {token_id!r}. List all: patina token list")
    stderr.print(f"Token {token_id} is revoked.", highlight=False)


@contextmanager
def _repository() -> Iterator[TokenRepository]:
    # The other commands use HTTP and need no database.
    from patina.local.local_store import open_store  # noqa: PLC0415
    from store.repositories.tokens import TokenRepository  # noqa: PLC0415

    # Opening migrates: tokens may be created before the service's first start.
    with open_store(settings(), "token") as store, store.database.write() as session:
        yield TokenRepository(session)


def _format_day(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
