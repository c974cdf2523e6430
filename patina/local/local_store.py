"""Direct access to the store, for commands that need no running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from config.logging import configure_logging
from config.settings import Settings
from patina.client import Job
from patina.errors import PatinaError
from store.db.migrate import NewerSchemaError, migrate
from store.db.schema import current_revision
from store.errors import DatabaseUnavailable, StorageUnavailable
from store.store import Store


@contextmanager
def open_store(settings: Settings, process: str) -> Iterator[Store]:
    """Opens the store and migrates it. Raises `PatinaError` if the database is unavailable or too new."""
    with _open(settings, process) as store:
        migrate(store.database)
        yield store


def list_latest_jobs(settings: Settings, count: int) -> list[Job]:
    """Lists jobs without a running service. Raises what `open_store` raises."""
    from app.jobs import service  # noqa: PLC0415 - other users of this module need none of the API

    with _open(settings, "jobs") as store:
        if current_revision(store.database) is None:  # no service has ever run here
            return []
        migrate(store.database)
        page = service.list_jobs(store, None, count, None, None, None)
    return [Job.model_validate(job.model_dump()) for job in page.items]


@contextmanager
def _open(settings: Settings, process: str) -> Iterator[Store]:
    configure_logging(settings, process)
    store = Store.open(settings)
    try:
        yield store
    except DatabaseUnavailable as error:
        raise PatinaError(f"The database does not answer ({error}). Check PATINA_DATABASE_URL.") from error
    except StorageUnavailable as error:
        raise PatinaError(f"The bucket does not answer or refuses access ({error}). Check PATINA_BLOBS_URL.") from error
    except NewerSchemaError as error:
        raise PatinaError(str(error)) from error
    finally:
        store.close()
