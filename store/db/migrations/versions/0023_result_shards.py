"""Result shards: tars with the files of many samples, which name their places in it"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "result_shards",
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_result_shards_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_result_shards"),
    )
    op.add_column("samples", sa.Column("shard", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM samples WHERE shard IS NOT NULL")
    op.drop_column("samples", "shard")
    op.drop_table("result_shards")
