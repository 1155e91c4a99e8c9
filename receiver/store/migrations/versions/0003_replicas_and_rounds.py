"""Several replicas, rounds of reconciliation, jobs that run once, the audit stream."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.Float(), nullable=True),
        sa.Column("due", sa.Float(), nullable=True),
        sa.Column("state", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("story", sa.Text(), server_default="", nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("audit_at", ["at"], unique=False)

    with op.batch_alter_table("stories", schema=None) as batch_op:
        batch_op.add_column(sa.Column("not_told", sa.Text(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("gather_until", sa.Float(), nullable=True))
        batch_op.create_index(
            "stories_closed",
            ["closed"],
            unique=False,
            sqlite_where=sa.text("closed IS NOT NULL"),
            postgresql_where=sa.text("closed IS NOT NULL"),
        )
        batch_op.create_index(
            "stories_evidence",
            ["closed"],
            unique=False,
            sqlite_where=sa.text("closed IS NOT NULL AND evidence IS NOT NULL"),
            postgresql_where=sa.text("closed IS NOT NULL AND evidence IS NOT NULL"),
        )

    with op.batch_alter_table("destinations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("asked_s", sa.Float(), nullable=True))

    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("heard_at", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("absent_at", sa.Float(), nullable=True))
        batch_op.create_index(
            "alerts_firing",
            ["source"],
            unique=False,
            sqlite_where=sa.text("status = 'firing'"),
            postgresql_where=sa.text("status = 'firing'"),
        )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup")
