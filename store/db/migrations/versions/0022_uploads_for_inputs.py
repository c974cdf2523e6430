"""Resumable uploads for inputs: an upload belongs to a dataset or is a part of inputs"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

FOREIGN_KEY, INDEX = "fk_uploads_inputs_id", "ix_uploads_inputs_id"


def upgrade() -> None:
    with op.batch_alter_table("uploads") as table:
        table.add_column(sa.Column("inputs_id", sa.String(length=26), nullable=True))
        table.add_column(sa.Column("number", sa.Integer(), nullable=True))
        table.alter_column("dataset_id", existing_type=sa.String(length=26), nullable=True)
        table.alter_column("role", existing_type=sa.String(length=2), nullable=True)
        table.create_foreign_key(FOREIGN_KEY, "inputs", ["inputs_id"], ["id"], ondelete="CASCADE")
        table.create_index(INDEX, ["inputs_id"])


def downgrade() -> None:
    op.execute("DELETE FROM uploads WHERE dataset_id IS NULL")
    with op.batch_alter_table("uploads") as table:
        table.drop_index(INDEX)
        table.drop_constraint(FOREIGN_KEY, type_="foreignkey")
        table.alter_column("role", existing_type=sa.String(length=2), nullable=False)
        table.alter_column("dataset_id", existing_type=sa.String(length=26), nullable=False)
        table.drop_column("number")
        table.drop_column("inputs_id")
