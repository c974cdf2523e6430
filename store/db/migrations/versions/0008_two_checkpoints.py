"""Two checkpoints for each training"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("checkpoints") as table:
        table.drop_constraint(op.f("pk_checkpoints"), type_="primary")
        table.create_primary_key(op.f("pk_checkpoints"), ["job_id", "step"])


def downgrade() -> None:
    op.execute(
        "DELETE FROM checkpoints WHERE step < "
        "(SELECT max(step) FROM checkpoints AS newer WHERE newer.job_id = checkpoints.job_id)"
    )
    with op.batch_alter_table("checkpoints") as table:
        table.drop_constraint(op.f("pk_checkpoints"), type_="primary")
        table.create_primary_key(op.f("pk_checkpoints"), ["job_id"])
