"""What the records say where no service runs: to look at them, nothing needs to be started."""

from __future__ import annotations

from sqlalchemy.exc import OperationalError

from app.jobs import service
from config.logging import configure_logging
from config.settings import Settings
from patina.client.flow import Sync
from patina.client.jobs import Job
from patina.errors import PatinaError
from store.migrate import migrate
from store.schema import revision
from store.store import Store


def newest_jobs(settings: Settings, count: int) -> list[Job[Sync]]:
    """Raises `PatinaError` where the database does not answer."""
    configure_logging(settings, "jobs")
    store = Store.open(settings)
    try:
        with store.database.engine.connect() as connection:
            if revision(connection) is None:  # nothing has ever run here
                return []
        migrate(store.database)
        page = service.page(store, None, count, None, None, None)
    except OperationalError as error:
        raise PatinaError(
            f"The database does not answer ({error.orig}). PATINA_DATABASE_URL says which is used."
        ) from error
    finally:
        store.close()
    return [Job.model_validate(job.model_dump()) for job in page.items]
