"""What is wrong with a photo, and its perceptual hash, so that the same photo is found again"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

UNCHECKED = sa.text("findings IS NULL")


def upgrade() -> None:
    op.add_column("images", sa.Column("findings", sa.JSON(), nullable=True))
    op.add_column("images", sa.Column("perceptual_hash", sa.String(length=32), nullable=True))
    op.create_index(
        "ix_images_unchecked", "images", ["id"], sqlite_where=UNCHECKED, postgresql_where=UNCHECKED, unique=False
    )


def downgrade() -> None:
    op.drop_index("ix_images_unchecked", table_name="images")
    op.drop_column("images", "perceptual_hash")
    op.drop_column("images", "findings")
