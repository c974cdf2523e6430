"""Shards, the parts of jobs that workers claim; each running or waiting job becomes one"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ALL = 2**31 - 1  # `stop` of a shard whose items were not counted
FLOAT = sa.Float(precision=53)
MOVED = ("worker", "lease_until", "crash_count")  # from jobs to shards


def upgrade() -> None:
    op.create_table(
        "shards",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("queue", sa.String(length=8), nullable=False),
        sa.Column("owner", sa.String(length=26), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("expansion", sa.JSON(), nullable=True),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("queued_at", FLOAT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", FLOAT, nullable=True),
        sa.Column("claimed_at", FLOAT, nullable=True),
        sa.Column("progressed_at", FLOAT, nullable=True),
        sa.Column("per_second", FLOAT, nullable=True),
        sa.Column("crash_count", sa.Integer(), nullable=False),
        sa.Column("reserved_until", FLOAT, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_shards_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
    )
    op.create_index(op.f("ix_shards_queue_status"), "shards", ["queue", "status"], unique=False)
    op.create_index(op.f("ix_shards_job_id"), "shards", ["job_id"], unique=False)
    # The id of a job serves as that of its only shard.
    op.execute(
        f"""
        INSERT INTO shards (id, job_id, queue, owner, priority, start, stop, status, queued_at, attempt, worker,
                            lease_until, claimed_at, progressed_at, crash_count)
        SELECT id, id, CASE kind WHEN 'train' THEN 'train' ELSE 'warm' END, owner, 0, 0, {ALL}, status, created_at,
               CASE status WHEN 'running' THEN attempt END, worker, lease_until, updated_at, updated_at, crash_count
        FROM jobs WHERE status IN ('queued', 'running')
        """
    )
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("shard_items", sa.Integer(), nullable=True))
    for name in MOVED:
        op.drop_column("jobs", name)


def downgrade() -> None:
    op.add_column("jobs", sa.Column("worker", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("lease_until", FLOAT, nullable=True))
    op.add_column("jobs", sa.Column("crash_count", sa.Integer(), nullable=False, server_default="0"))
    # Nobody holds a job, so whoever renews a lease loses it, and every running job waits again.
    op.execute("UPDATE jobs SET status = 'queued', attempt = attempt + 1 WHERE status = 'running'")
    op.drop_column("jobs", "shard_items")
    op.drop_column("jobs", "priority")
    op.drop_table("shards")
