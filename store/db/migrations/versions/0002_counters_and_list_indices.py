"""Image counters, and an index for each filter of lists"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JOBS = (
    ["status", "id"],
    ["kind", "id"],
    ["kind", "status", "id"],
    ["dataset_id", "kind", "id"],
    ["dataset_id", "status", "id"],
)


def upgrade() -> None:
    for role in ("lr", "hr"):
        op.add_column("datasets", sa.Column(f"{role}_images", sa.Integer(), nullable=False, server_default="0"))
        op.execute(
            f"UPDATE datasets SET {role}_images = "
            f"(SELECT count(*) FROM images WHERE images.dataset_id = datasets.id AND images.role = '{role}')"
        )
    op.create_index("ix_images_dataset_id_id", "images", ["dataset_id", "id"])
    op.drop_index("ix_jobs_status_lease_until", "jobs")
    for columns in JOBS:
        op.create_index(f"ix_jobs_{'_'.join(columns)}", "jobs", columns)


def downgrade() -> None:
    for columns in JOBS:
        op.drop_index(f"ix_jobs_{'_'.join(columns)}", "jobs")
    op.create_index("ix_jobs_status_lease_until", "jobs", ["status", "lease_until"])
    op.drop_index("ix_images_dataset_id_id", "images")
    for role in ("lr", "hr"):
        op.drop_column("datasets", f"{role}_images")
