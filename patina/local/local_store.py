"""The records themselves, for the commands that work where they are and need no service to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from config.logging import configure_logging
from config.settings import Settings
from patina.client.flow import Sync
from patina.client.jobs import Job
from patina.errors import PatinaError
from store.db.migrate import NewerSchemaError, migrate
from store.db.schema import revision
from store.store import Store


@contextmanager
def records(settings: Settings, process: str) -> Iterator[Store]:
    """The store, of the newest schema. Raises `PatinaError` where the database is away or of a newer version."""
    with _opened(settings, process) as store:
        migrate(store.database)
        yield store


def newest_jobs(settings: Settings, count: int) -> list[Job[Sync]]:
    """Where no service runs: to look at them, nothing needs to be started. Raises as `records` does."""
    from app.jobs import service  # noqa: PLC0415 - the others that come here need none of the API

    with _opened(settings, "jobs") as store:
        with store.database.engine.connect() as connection:
            if revision(connection) is None:  # nothing has ever run here
                return []
        migrate(store.database)
        page = service.page(store, None, count, None, None, None)
    return [Job.model_validate(job.model_dump()) for job in page.items]


@contextmanager
def _opened(settings: Settings, process: str) -> Iterator[Store]:
    configure_logging(settings, process)
    store = Store.open(settings)
    try:
        yield store
    except OperationalError as error:
        raise PatinaError(
            f"The database does not answer ({error.orig}). PATINA_DATABASE_URL says which is used."
        ) from error
    except NewerSchemaError as error:
        raise PatinaError(str(error)) from error
    finally:
        store.close()
