"""Idempotency keys"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=26), nullable=True),
        sa.Column("dataset_id", sa.String(length=26), nullable=True),
        sa.Column("created", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_requests_job_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_requests_dataset_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key", name="pk_requests"),
    )
    for column in ("job_id", "dataset_id", "created"):
        op.create_index(f"ix_requests_{column}", "requests", [column])


def downgrade() -> None:
    op.drop_table("requests")
