"""What the story list chooses and shows by, and the search."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from receiver.store.backfill import fill_stories, make_searchable

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("stories", schema=None) as batch_op:
        batch_op.add_column(sa.Column("namespace", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("cluster", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("cause", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("cause_text", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("impact", sa.Text(), server_default="unknown", nullable=False))
        batch_op.add_column(sa.Column("failed", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("total", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("indexed", sa.Integer(), server_default="-1", nullable=False))
    fill_stories(op.get_bind())

    with op.batch_alter_table("stories", schema=None) as batch_op:
        batch_op.create_index("stories_opened", ["opened", "id"], unique=False)
        batch_op.create_index("stories_namespace", ["namespace", "opened", "id"], unique=False)
        batch_op.create_index("stories_updated", ["updated", "id"], unique=False)
        batch_op.create_index(
            "stories_open",
            ["opened", "id", "state", "kind", "namespace", "cluster", "cause", "impact", "severity"],
            unique=False,
            sqlite_where=sa.text("state <> 'resolved'"),
            postgresql_where=sa.text("state <> 'resolved'"),
        )
        batch_op.create_index(
            "stories_open_namespace",
            ["namespace", "opened", "id"],
            unique=False,
            sqlite_where=sa.text("state <> 'resolved'"),
            postgresql_where=sa.text("state <> 'resolved'"),
        )
        batch_op.create_index(
            "stories_unindexed",
            ["opened"],
            unique=False,
            sqlite_where=sa.text("indexed < revision"),
            postgresql_where=sa.text("indexed < revision"),
        )

    op.create_table(
        "search",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("story", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["story"], ["stories.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("search", schema=None) as batch_op:
        batch_op.create_index("search_story", ["story"], unique=True)
    make_searchable(op.get_bind())


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup")
