"""The tables. Times are seconds since 1970 by the database's clock; JSON is text.

inbox ──► alerts ──► stories ──► revisions
             │          │
     delivery_alerts ► deliveries ──► entries
                        │  └────────► attempts
                    destinations

Partial indexes are partial on PostgreSQL too, as the migrations make them; to say so here would load its dialect into
every process.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

metadata = MetaData()

inbox = Table(
    "inbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("received_at", Float, nullable=False),
    Column("source", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False, server_default="alert"),  # alert | raw (a body that our own code broke on)
    Column("payload", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="new"),  # new | done | poison
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=""),
    Column("owner", Text),
    Column("claimed_until", Float),
    Column("done_at", Float),
    Index("inbox_new", "seq", sqlite_where=text("state = 'new'")),
    Index("inbox_done", "done_at"),
    sqlite_autoincrement=True,
)

stories = Table(
    "stories",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("alias", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("revision", Integer, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("opened", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("closed", Float),
    Column("identity", Text),
    Column("evidence", Text),
    Column("note", Text, nullable=False, server_default=""),
    Column("run", Text, nullable=False, server_default=""),
    Column("plan_phase", Text, nullable=False, server_default=""),
    Column("reruns", Integer, nullable=False, server_default="0"),
    Column("reopens", Integer, nullable=False, server_default="0"),
    Column("previous", Text, nullable=False, server_default=""),
    Column("continued_in", Text, nullable=False, server_default=""),
    Column("close_at", Float),
    Column("identify_due", Float),
    Column("gather_due", Float),
    Column("gather_tries", Integer, nullable=False, server_default="0"),
    Column("not_told", Text, nullable=False, server_default="{}"),  # JSON: alert → destinations of newer routes
    Column("gather_until", Float),  # somebody gathers, at most until then
    Column("test", Boolean, nullable=False, server_default=text("false")),
    Column("ack", Text),  # who took it: JSON
    Column("remind_at", Float),  # look then whether people are to be reminded
    Column("worse_at", Float),  # when people were last told that it became worse
    Column("namespace", Text, nullable=False, server_default=""),  # of its owner; this and the next: store/columns.py
    Column("cluster", Text, nullable=False, server_default=""),
    Column("cause", Text, nullable=False, server_default=""),
    Column("cause_text", Text, nullable=False, server_default=""),
    Column("impact", Text, nullable=False, server_default="unknown"),
    Column("failed", Integer, nullable=False, server_default="0"),  # VMs
    Column("total", Integer, nullable=False, server_default="0"),
    Column("indexed", Integer, nullable=False, server_default="-1"),  # the revision that the search knows; -1: none
    Index(
        "stories_open_subject",
        "subject",
        unique=True,
        sqlite_where=text("state <> 'resolved'"),
    ),
    Index("stories_subject", "subject", "opened"),
    Index("stories_alias", "alias"),
    Index("stories_state", "state", "opened"),
    Index("stories_opened", "opened", "id"),
    Index("stories_namespace", "namespace", "opened", "id"),
    Index("stories_owner", "cluster", "namespace"),
    Index("stories_updated", "updated", "id"),
    Index(  # with all that sums are made of: SQLite has these columns behind the evidence
        "stories_open",
        "opened",
        "id",
        "state",
        "kind",
        "namespace",
        "cluster",
        "cause",
        "impact",
        "severity",
        sqlite_where=text("state <> 'resolved'"),
    ),
    Index("stories_open_namespace", "namespace", "opened", "id", sqlite_where=text("state <> 'resolved'")),
    Index("stories_unindexed", "opened", sqlite_where=text("indexed < revision")),
    Index(
        "stories_closed",
        "closed",
        sqlite_where=text("closed IS NOT NULL"),
    ),
    Index(
        "stories_evidence",
        "closed",
        sqlite_where=text("closed IS NOT NULL AND evidence IS NOT NULL"),
    ),
    *(
        Index(f"stories_{timer}", timer, sqlite_where=text(f"{timer} IS NOT NULL"))
        for timer in ("close_at", "identify_due", "gather_due", "remind_at")
    ),
)

search = Table(
    "search",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("story", Text, ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    Column("words", Text, nullable=False),  # PostgreSQL: tsvector; SQLite: what `search_fts` reads
    Index("search_story", "story", unique=True),
)
"""The words by which people find a story. Virtual tables and triggers around it: store/backfill.py."""

revisions = Table(
    "revisions",
    metadata,
    Column("story", Text, ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("change", Text, nullable=False),
    Column("key", Text, nullable=False, server_default=""),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("story", "revision"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("story", Text, ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("source", Text, nullable=False, server_default=""),
    Column("role", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("starts_at", Float, nullable=False),
    Column("ends_at", Float),
    Column("changed_at", Float, nullable=False),  # when `status` last changed, database time
    Column("heard_at", Float),  # when a webhook or a round last carried it
    Column("absent_at", Float),  # when the first complete round began that no longer held it
    Column("payload", Text, nullable=False),
    PrimaryKeyConstraint("story", "fingerprint"),
    Index("alerts_fingerprint", "fingerprint", "seq"),
    Index(
        "alerts_firing",
        "source",
        sqlite_where=text("status = 'firing'"),
    ),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("story", Text, ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    Column("receiver", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("keys", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("intervals", Text, nullable=False, server_default="[]"),
    Column("state", Text, nullable=False),
    Column("firing", Boolean, nullable=False),
    Column("desired", Integer, nullable=False),
    Column("delivered", Integer, nullable=False, server_default="0"),
    Column("audible", Integer, nullable=False),  # the latest revision that people should notice
    Column("root", Text),  # receipt
    Column("started", Boolean, nullable=False, server_default=text("false")),  # a create was begun
    Column("plain", Boolean, nullable=False, server_default=text("false")),
    Column("due", Float),  # look at it then; NULL: nothing to do
    Column("priority", Integer, nullable=False, server_default="0"),  # 0 new root, 1 audible, 2 quiet
    Column("waiting_since", Float),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("owner", Text),
    Column("claimed_until", Float),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("unknown_part", Text),  # a try of this part was begun and has no known answer
    Column("unknown_at", Float),
    Column("confirm_at", Float),
    Column("told_at", Float),  # when people were last noticeably told here
    Column("fallback_for", Text, nullable=False, server_default=""),
    Column("fallen_back", Boolean, nullable=False, server_default=text("false")),
    Column("error", Text, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
    Column("digest", Text, nullable=False, server_default=""),  # id of the digest that tells of it
    Column("moved", Text, nullable=False, server_default=""),  # to whom a person gave it, in words
    Index("deliveries_digest", "digest", sqlite_where=text("digest <> ''")),
    Index("deliveries_story_destination", "story", "destination", unique=True),
    Index(
        "deliveries_due",
        "destination",
        "priority",
        "due",
        sqlite_where=text("due IS NOT NULL"),
    ),
    Index("deliveries_created", "created", "id"),
    Index("deliveries_dead", "story", sqlite_where=text("state = 'dead'")),
    Index(
        "deliveries_needing",
        "created",
        "id",
        sqlite_where=text("due IS NOT NULL OR state IN ('dead', 'parked', 'pending', 'retrying')"),
    ),
    Index("deliveries_shadow", "destination", sqlite_where=text("state = 'shadow'")),
)

delivery_alerts = Table(
    "delivery_alerts",
    metadata,
    Column("delivery", Text, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False),
    Column("fingerprint", Text, nullable=False),
    PrimaryKeyConstraint("delivery", "fingerprint"),
)

entries = Table(
    "entries",
    metadata,
    Column("delivery", Text, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("change", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("state", Text, nullable=False),  # pending | delivered | folded | skipped
    Column("receipt", Text),
    Column("plain", Boolean, nullable=False, server_default=text("false")),  # refused in its rendered form
    PrimaryKeyConstraint("delivery", "key"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("delivery", Text, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False),
    Column("part", Text, nullable=False),
    Column("op", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("outcome", Text),  # NULL: begun, no answer recorded
    Column("status", Integer),
    Column("error", Text, nullable=False, server_default=""),
    Index("attempts_delivery", "delivery", "id"),
    sqlite_autoincrement=True,
)

destinations = Table(
    "destinations",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("parked", Boolean, nullable=False, server_default=text("false")),
    Column("reason", Text, nullable=False, server_default=""),
    Column("since", Float),
    Column("probe_at", Float),
    Column("hold_until", Float),
    Column("asked_s", Float),  # so long it asked to be left alone
    Column("secret_mark", Text, nullable=False, server_default=""),
    Column("tokens", Float),  # rate limit: what is left in the bucket …
    Column("tokens_at", Float),  # … as of then
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row, that say nothing about a message
    Column("away_since", Float),  # nothing got through since then
)

digests = Table(
    "digests",
    metadata,
    Column("id", Text, primary_key=True),  # of the story that stands for it
    Column("destination", Text, nullable=False),
    Column("topic", Text, nullable=False, server_default=""),  # tickets: the cause
    Column("admits", Boolean, nullable=False, server_default=text("true")),  # the storm goes on
    Column("joined_at", Float, nullable=False),  # the last member
    Column("seen", Text, nullable=False, server_default=""),  # what its numbers were made of
    Column("numbers", Text),  # JSON
    Column("look_at", Float),
    Index(
        "digests_admitting",
        "destination",
        "topic",
        unique=True,
        sqlite_where=text("admits"),
    ),
)
"""Storms: one row per living digest of one destination."""

presses = Table(
    "presses",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("story", Text, nullable=False),
    Column("action", Text, nullable=False),  # acknowledge | silence | move
    Column("by", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("text", Text, nullable=False),  # what the person was answered
    Index("presses_story", "story", "id"),
    sqlite_autoincrement=True,
)
"""What people asked for, and what came of it. Append-only."""

silences = Table(
    "silences",
    metadata,
    Column("id", Text, nullable=False),  # Alertmanager's
    Column("alertmanager", Text, nullable=False),
    Column("story", Text, ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    Column("until", Float, nullable=False),
    Column("by", Text, nullable=False),
    Column("warned", Boolean, nullable=False, server_default=text("false")),  # that it ends soon
    PrimaryKeyConstraint("alertmanager", "id"),
    Index("silences_story", "story"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text),
    Column("claimed_until", Float),
    Column("due", Float),
    Column("state", Text, nullable=False, server_default="{}"),  # JSON, the job's own
)
"""What must be done once, whatever the number of replicas: a job is claimed like a delivery."""

snapshots = Table(
    "snapshots",
    metadata,
    Column("plan", Text, primary_key=True),  # UID: of a Plan only what its newest run showed is kept
    Column("run", Text, nullable=False),  # Migration UID
    Column("cluster", Text, nullable=False),  # the Plan's
    Column("taken_at", Float, nullable=False),
    Column("payload", Text, nullable=False, server_default=""),  # JSON, packed; empty: nothing could be read yet
    Column("marks", Text, nullable=False, server_default="{}"),  # JSON: how far each VM had come, and since when
    Index("snapshots_taken", "taken_at"),
)
"""What a migration's objects looked like while it ran: Forklift deletes them in the moment a live VM fails."""

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("story", Text, nullable=False, server_default=""),
    Column("text", Text, nullable=False),  # JSON
    Index("audit_at", "at"),
    sqlite_autoincrement=True,
)
"""What was decided, sent, pressed and reloaded. Append-only."""

pulse = Table("pulse", metadata, Column("id", Integer, primary_key=True), Column("at", Float, nullable=False))
"""One row that readiness writes: a store that cannot be written is not ready."""
