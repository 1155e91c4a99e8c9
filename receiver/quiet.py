"""What changes a story without news for those who sleep: one revision that edits what is shown."""

from __future__ import annotations

from receiver.model import Change
from receiver.store import stories
from receiver.store.drafts import Draft
from receiver.store.engine import Conn
from receiver.story import entry_key
from receiver.telling import Teller


async def publish(conn: Conn, teller: Teller, draft: Draft, change: Change, text: str, key: str = "") -> None:
    """Make a change one revision of a story, and let everybody who shows the story lag behind it.

    `key` is that of the entry which it adds where a destination shows such changes; one is made up where it is empty.
    """
    plan = await teller.plan(conn, draft, {})
    key = key or entry_key(change, draft.reruns, draft.reopens, draft.revision + 1)
    await stories.save(conn, draft, change, text, key)
    await teller.tell(conn, draft, plan, change, text, key)
