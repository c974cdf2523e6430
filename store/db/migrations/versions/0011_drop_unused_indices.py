"""Drop indices that no query uses: they slowed uploads and jobs"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UNNEEDED = {"images": "sha256", "items": "sha256", "jobs": "model_id"}


def upgrade() -> None:
    for table, column in UNNEEDED.items():
        op.drop_index(op.f(f"ix_{table}_{column}"), table_name=table)


def downgrade() -> None:
    for table, column in UNNEEDED.items():
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)
