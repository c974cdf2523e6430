"""How long a job's results are kept"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Results from before this promise never expire.
    op.add_column("jobs", sa.Column("keep_seconds", sa.Float(precision=53), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "keep_seconds")
