"""Tokens, owners, expiry of results, and the version of jobs' parameters"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created", sa.Float(precision=53), nullable=False),
        sa.Column("revoked", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    # Only add columns: for other changes SQLite copies and drops the table, and by the foreign keys the drop deletes
    # all rows that refer to it.
    op.add_column("datasets", sa.Column("owner", sa.String(length=26), nullable=True))
    op.add_column("datasets", sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(op.f("ix_datasets_owner"), "datasets", ["owner"], unique=False)
    op.add_column("jobs", sa.Column("owner", sa.String(length=26), nullable=True))
    op.add_column("jobs", sa.Column("form", sa.Integer(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("expired", sa.Float(precision=53), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "expired")
    op.drop_column("jobs", "form")
    op.drop_column("jobs", "owner")
    op.drop_index(op.f("ix_datasets_owner"), "datasets")
    op.drop_column("datasets", "shared")
    op.drop_column("datasets", "owner")
    op.drop_table("tokens")
