"""What people do with stories, digests of storms, manners of destinations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "digests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), server_default="", nullable=False),
        sa.Column("admits", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("joined_at", sa.Float(), nullable=False),
        sa.Column("seen", sa.Text(), server_default="", nullable=False),
        sa.Column("numbers", sa.Text(), nullable=True),
        sa.Column("look_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("digests", schema=None) as batch_op:
        batch_op.create_index(
            "digests_admitting",
            ["destination", "topic"],
            unique=True,
            sqlite_where=sa.text("admits"),
            postgresql_where=sa.text("admits"),
        )

    op.create_table(
        "presses",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("story", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("presses", schema=None) as batch_op:
        batch_op.create_index("presses_story", ["story", "id"], unique=False)

    op.create_table(
        "silences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alertmanager", sa.Text(), nullable=False),
        sa.Column("story", sa.Text(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("warned", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.ForeignKeyConstraint(["story"], ["stories.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("alertmanager", "id"),
    )
    with op.batch_alter_table("silences", schema=None) as batch_op:
        batch_op.create_index("silences_story", ["story"], unique=False)

    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.add_column(sa.Column("digest", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("moved", sa.Text(), server_default="", nullable=False))
        batch_op.create_index(
            "deliveries_digest",
            ["digest"],
            unique=False,
            sqlite_where=sa.text("digest <> ''"),
            postgresql_where=sa.text("digest <> ''"),
        )

    with op.batch_alter_table("destinations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tokens", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("tokens_at", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("away_since", sa.Float(), nullable=True))

    with op.batch_alter_table("entries", schema=None) as batch_op:
        batch_op.add_column(sa.Column("plain", sa.Boolean(), server_default=sa.text("(false)"), nullable=False))

    with op.batch_alter_table("stories", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ack", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("remind_at", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("worse_at", sa.Float(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup")
