"""What migration 0005 does beside adding columns: fills them for the stories that there are, and makes the search.

Written against the JSON as it was stored then, not against the model as it is now, so that it stays true.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection, text

ROWS_AT_ONCE: Final = 200
"""Evidence may be large: so many stories are in memory at a time."""
MOST_VMS: Final = 2**31 - 1
"""PostgreSQL's integers end there."""
_IMPACTS: Final = frozenset({"down", "at_risk", "none", "unknown"})

_NEXT = text("SELECT id, run, identity, evidence FROM stories WHERE id > :after ORDER BY id LIMIT :most")
_FILL = text("""
    UPDATE stories SET namespace = :namespace, cluster = :cluster, cause = :cause, cause_text = :cause_text,
        impact = :impact, failed = :failed, total = :total
    WHERE id = :story
""")

# The words of a story are stored once and FTS5 reads them there ("external content"): so they are one table on both
# databases, go with their story by its foreign key, and are measured and forgotten as every other row is.
# Words come split and folded (`receiver.store.search`): `ascii` takes them as they are.
_SQLITE: Final = (
    "CREATE VIRTUAL TABLE search_fts USING fts5("
    "words, content='search', content_rowid='id', tokenize='ascii', columnsize=0)",
    "CREATE TRIGGER search_added AFTER INSERT ON search BEGIN"
    " INSERT INTO search_fts(rowid, words) VALUES (new.id, new.words); END",
    "CREATE TRIGGER search_removed AFTER DELETE ON search BEGIN"
    " INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.id, old.words); END",
    "CREATE TRIGGER search_changed AFTER UPDATE OF words ON search BEGIN"
    " INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.id, old.words);"
    " INSERT INTO search_fts(rowid, words) VALUES (new.id, new.words); END",
)
_POSTGRESQL: Final = (
    "ALTER TABLE search ALTER COLUMN words TYPE tsvector USING words::tsvector",
    "CREATE INDEX search_words ON search USING gin (words)",
)


def make_searchable(conn: Connection) -> None:
    """Let the database find words in the table `search`, which is new and empty."""
    for statement in _SQLITE if conn.dialect.name == "sqlite" else _POSTGRESQL:
        conn.exec_driver_sql(statement)


def fill_stories(conn: Connection) -> None:
    """Fill the new columns of all stories, a few at a time; what nobody can read leaves its columns empty."""
    after = ""
    while rows := conn.execute(_NEXT, {"after": after, "most": ROWS_AT_ONCE}).all():
        conn.execute(_FILL, [{"story": row.id, **_columns(row.run, row.identity, row.evidence)} for row in rows])
        after = rows[-1].id


def _columns(run: str, identity_json: str | None, evidence_json: str | None) -> dict[str, Any]:
    identity, evidence = _object(identity_json), _object(evidence_json)
    seen = _text(evidence.get("run"))
    if run and seen and run != seen:
        evidence = {}
    cause, counts, impact = _part(evidence, "cause"), _part(evidence, "counts"), _text(evidence.get("impact"))
    namespaces = (_text(identity.get(f"{of}namespace")) for of in ("owner_", "target_", ""))
    return {
        "namespace": next(filter(None, namespaces), ""),
        "cluster": _text(identity.get("cluster")),
        "cause": _text(cause.get("id")),
        "cause_text": _text(cause.get("sentence")),
        "impact": impact if impact in _IMPACTS else "unknown",
        "failed": _number(counts.get("failed")),
        "total": _number(counts.get("total")),
    }


def _object(stored: str | None) -> dict[str, Any]:
    try:
        found = json.loads(stored or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(of: dict[str, Any], name: str) -> dict[str, Any]:
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    """Return a text as both databases take it."""
    return value.replace("\x00", "").encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= MOST_VMS else 0
