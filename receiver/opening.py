"""How a story opens, opens again, and learns whom it is about; from then on its evidence is wanted."""

from __future__ import annotations

from collections.abc import Callable

from receiver import ids
from receiver.config.model import Config
from receiver.incoming import Incoming, put, title_of
from receiver.model import Change, Identity, Outcome, StoryState
from receiver.model.handed import HANDOVER
from receiver.store.drafts import Draft

IDENTIFY_AGAIN_S = 2.0
"""First wait before an identity that could not be had is asked for again."""


class Opener:
    """Changes drafts only; whoever calls it saves and tells them."""

    def __init__(self, config: Config, random: Callable[[], int]) -> None:
        self._clusters = frozenset(cluster.name for cluster in config.clusters)
        self._random = random

    def open(self, one: Incoming, now: float, previous: str = "") -> Draft:
        """Return a new story; `previous` was the last one about the same subject."""
        draft = Draft(
            id=ids.ulid(now, self._random()),
            subject=one.identity.subject,
            kind=one.identity.kind,
            severity=one.alert.labels.get("severity", "warning"),
            title="",
            opened=now,
            now=now,
            previous=previous,
            new=True,
            test=one.source == "test",
        )
        self.know(draft, one.identity)
        draft.title = draft.title or title_of(one)
        put(draft, one)
        draft.note_change(Change.FIRED, f"{one.alert.name or 'an alert'} fires")
        self.want_evidence(draft)
        return draft

    def success(self, one: Incoming, now: float) -> Draft:
        """Return a story that is over at once: it only tells that a Plan has succeeded, or what a shift hands over."""
        draft = self.open(one, now)
        draft.severity = one.alert.labels.get("severity", "info")
        draft.gather_due = draft.identify_due = None
        draft.state, draft.outcome, draft.closed = StoryState.RESOLVED, Outcome.FIXED, now
        if one.identity.kind == HANDOVER:
            draft.outcome = Outcome.CLEARED
        return draft

    def reopen(self, draft: Draft, one: Incoming) -> Draft:
        """Let a story that was over go on, without what was known of its last run."""
        draft.state, draft.outcome, draft.closed = StoryState.FIRING, None, None
        draft.reopens += 1
        draft.note, draft.ack, draft.worse_at = "", None, None
        draft.not_told = {}
        draft.run, draft.evidence, draft.plan_phase = "", None, None
        self.know(draft, one.identity)
        draft.severity = one.alert.labels.get("severity", draft.severity)
        draft.note_change(Change.REOPENED, f"{one.alert.name or 'the alert'} fires again")
        self.want_evidence(draft)
        return draft

    def know(self, draft: Draft, identity: Identity) -> None:
        """Let a story take an identity: its names, its title, and when it is to be asked for again."""
        before = draft.identity
        draft.identity = identity
        draft.subject = identity.subject
        draft.alias = identity.alias or draft.alias
        draft.kind = identity.kind
        if identity.kind == "plan":
            place = f"{identity.namespace}/" if identity.namespace else ""
            draft.title = f"plan {place}{identity.name or identity.uid}"
        if not identity.complete:
            draft.identify_due = draft.identify_due or draft.now + IDENTIFY_AGAIN_S
        else:
            draft.identify_due = None
        if (
            before is not None
            and not draft.new
            and (before.facts, before.missing) != (identity.facts, identity.missing)
        ):
            draft.note_change(Change.IDENTITY, "more is known about the plan")
            read = draft.evidence is not None and draft.evidence.complete
            if not before.complete and identity.complete and not read:
                self.want_evidence(draft)

    def want_evidence(self, draft: Draft) -> None:
        """Have evidence gathered at once, where there is a cluster to read it from."""
        identity = draft.identity
        if identity is None or identity.cluster not in self._clusters:
            return
        if identity.kind == "plan" and not identity.namespace:
            return  # nothing to read before the Plan is found; then evidence is wanted
        draft.gather_due, draft.gather_tries = draft.now, 0
