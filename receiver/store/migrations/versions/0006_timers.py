"""Indexes for what is asked several times a second, and for the ledger in the order in which people read it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("stories", schema=None) as batch_op:
        for timer in ("close_at", "identify_due", "gather_due", "remind_at"):
            batch_op.create_index(
                f"stories_{timer}",
                [timer],
                unique=False,
                sqlite_where=sa.text(f"{timer} IS NOT NULL"),
                postgresql_where=sa.text(f"{timer} IS NOT NULL"),
            )
        batch_op.create_index("stories_owner", ["cluster", "namespace"], unique=False)
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index("deliveries_created", ["created", "id"], unique=False)
        batch_op.create_index(
            "deliveries_dead",
            ["story"],
            unique=False,
            sqlite_where=sa.text("state = 'dead'"),
            postgresql_where=sa.text("state = 'dead'"),
        )
        needing = "due IS NOT NULL OR state IN ('dead', 'parked', 'pending', 'retrying')"
        batch_op.create_index(
            "deliveries_needing",
            ["created", "id"],
            unique=False,
            sqlite_where=sa.text(needing),
            postgresql_where=sa.text(needing),
        )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup")
