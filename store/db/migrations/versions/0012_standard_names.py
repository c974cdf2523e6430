"""Standard names for columns and tables: times end in _at, counters in _count"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

CREATED = {"created": "created_at"}
COLUMNS = {
    "tokens": CREATED | {"revoked": "revoked_at"},
    "datasets": CREATED,
    "images": CREATED,
    "jobs": CREATED
    | {
        "form": "parameters_version",
        "deaths": "crash_count",
        "events": "event_count",
        "updated": "updated_at",
        "started": "started_at",
        "finished": "finished_at",
        "keep_seconds": "retention_seconds",
        "expired": "expired_at",
    },
    "events": CREATED,
    "items": {"stem": "output_name"},
    "models": CREATED,
    "uploads": CREATED | {"description": "upload_metadata", "concluded": "completed_at", "expires": "expires_at"},
    "webhooks": CREATED,
    "deliveries": CREATED | {"due": "next_attempt_at", "delivered": "delivered_at"},
}
INDEXED = {"jobs": ["updated"], "uploads": ["expires"], "deliveries": ["due", "created"]}


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        _rename_columns(table, columns, INDEXED.get(table, []))
    _copy_keys("requests", "idempotency_keys", ("created", "created_at"))


def downgrade() -> None:
    _copy_keys("idempotency_keys", "requests", ("created_at", "created"))
    for table, columns in COLUMNS.items():
        indexed = [columns[column] for column in INDEXED.get(table, [])]
        _rename_columns(table, {new: old for old, new in columns.items()}, indexed)


def _rename_columns(table: str, columns: dict[str, str], indexed: list[str]) -> None:
    for column in indexed:
        op.drop_index(op.f(f"ix_{table}_{column}"), table_name=table)
    for old, new in columns.items():
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    for column in indexed:
        op.create_index(op.f(f"ix_{table}_{columns[column]}"), table, [columns[column]], unique=False)


def _copy_keys(source: str, target: str, created: tuple[str, str]) -> None:
    """Copies into a new table: SQLite keeps the names of constraints when a table is renamed."""
    before, after = created
    op.create_table(
        target,
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=26), nullable=True),
        sa.Column("dataset_id", sa.String(length=26), nullable=True),
        sa.Column(after, sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f(f"fk_{target}_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f(f"fk_{target}_dataset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f(f"pk_{target}")),
    )
    op.execute(
        f"INSERT INTO {target} (key, digest, job_id, dataset_id, {after}) "
        f"SELECT key, digest, job_id, dataset_id, {before} FROM {source}"
    )
    op.drop_table(source)
    for column in ("job_id", "dataset_id", after):
        op.create_index(op.f(f"ix_{target}_{column}"), target, [column], unique=False)
