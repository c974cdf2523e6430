"""What tokens have used, for their limits, and the highest priority of their requests"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usages",
        sa.Column("owner", sa.String(length=26), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("worker_seconds", sa.Float(precision=53), nullable=False),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "hour", name=op.f("pk_usages")),
    )
    op.add_column("tokens", sa.Column("max_priority", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("tokens", "max_priority")
    op.drop_table("usages")
