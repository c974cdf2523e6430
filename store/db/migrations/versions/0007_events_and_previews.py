"""Events and previews"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_events_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_events")),
    )
    op.create_table(
        "previews",
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_previews_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_previews")),
    )
    # The defaults are for existing jobs alone, which have no events and changed long ago.
    op.add_column("jobs", sa.Column("finish_requested", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("events", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("updated", sa.Float(precision=53), nullable=False, server_default="0"))
    op.create_index(op.f("ix_jobs_updated"), "jobs", ["updated"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_updated"), table_name="jobs")
    for column in ("updated", "events", "finish_requested"):
        op.drop_column("jobs", column)
    op.drop_table("previews")
    op.drop_table("events")
