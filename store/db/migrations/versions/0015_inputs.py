"""Inputs: files of a job, sent in parts before the job"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inputs",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("owner", sa.String(length=26), nullable=True),
        sa.Column("key", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inputs")),
    )
    for column in ("key", "expires_at"):
        op.create_index(op.f(f"ix_inputs_{column}"), "inputs", [column], unique=False)
    op.create_table(
        "input_parts",
        sa.Column("inputs_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inputs_id"], ["inputs.id"], name=op.f("fk_input_parts_inputs_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("inputs_id", "number", name=op.f("pk_input_parts")),
    )


def downgrade() -> None:
    op.drop_table("input_parts")
    op.drop_table("inputs")
