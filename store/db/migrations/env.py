"""Alembic's entry point: runs on the connection that `store.db.migrate` opened."""

from alembic import context

from store.db.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite cannot alter columns in place
    transaction_per_migration=False,
)
context.run_migrations()
