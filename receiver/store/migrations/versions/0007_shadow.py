"""An index for deliveries in shadow mode: whether one is to be told for real now is asked every second."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(
            "deliveries_shadow",
            ["destination"],
            unique=False,
            sqlite_where=sa.text("state = 'shadow'"),
            postgresql_where=sa.text("state = 'shadow'"),
        )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup")
