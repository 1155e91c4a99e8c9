"""What every destination kind must be able to do, and the list of kinds.

A destination is a reconciler in two halves. `plan` is pure: given what the story is now (`Wanted`) and the receipts of
what was delivered, it names the next single step, or None when nothing is left to do. `send` carries one step out and
returns the receipt, or raises one of `receiver.errors`. Everything between (claims, attempts, retries, look-ups,
parking) belongs to `receiver.deliver` and is the same for all kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

import httpx2

from receiver.config.model import DestinationConfig
from receiver.model import Change, Receipt, Wanted
from receiver.rendering import Renderer


class Manner(StrEnum):
    """How people use a kind; decides when a first message is sent and what becomes of short stories."""

    PAGER = "pager"
    """Told at once; nothing is sent for a story that closed before its first create."""
    CHAT = "chat"
    """Waits up to `evidence_wait`; a story that closed before its first create is told once, in its final form."""
    TICKET = "ticket"
    """Waits for evidence or `evidence_timeout`; nothing is sent for a story that closed before its first create."""


class InStorm(StrEnum):
    """What becomes of a kind's first messages when too many come at once (see `receiver.digests`)."""

    BY_EDIT = "by edit"
    """One message; the first of the storm turns into it."""
    ANEW = "anew"
    """One message, which is made for it."""
    BY_CAUSE = "by cause"
    """One message for each cause, once it is known."""
    EACH = "each"
    """Each is told on its own: a program reads them."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do at a destination: one attempt."""

    part: str
    """`root`, or the key of an entry, or the name of a part that the root's receipt keeps (`kept_in_root`)."""
    op: str
    """create, update, resolve, comment, transition, …: for the ledger and metrics."""
    body: Mapping[str, Any]
    """The body that is sent."""
    creates: bool = False
    """True: repeating it after an unknown outcome would make a second thing, so it is looked up first."""
    hash: str = ""
    """Of what the reader sees; a payload equal to the delivered one is not sent."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What `send` needs besides the body, such as the id to update.

    `kept_in_root`: true for a step that is neither the root nor an entry, such as a file: its receipt is merged into
    the root's (mappings of the same name into each other, so `{"files": {part: id}}` adds one file). Where it is
    refused, the root's receipt gets `{"skipped": {part: reason}}`, and the step is not to be planned again."""

    @property
    def kept_in_root(self) -> bool:
        """Does the root's receipt keep what comes of it?"""
        return bool(self.extra.get("kept_in_root"))


class Sender(Protocol):
    """One configured destination, ready to send. Holds no state between calls."""

    @property
    def kind(self) -> str:
        """Return the kind's name, such as `slack`."""
        ...

    @property
    def manner(self) -> Manner:
        """Return how people use it."""
        ...

    @property
    def entry_changes(self) -> frozenset[Change]:
        """Return which changes add an entry here."""
        ...

    @property
    def waits_for_evidence(self) -> bool:
        """Say whether a first message waits for evidence or its time-out: it cannot be edited, or nobody hurries."""
        ...

    @property
    def in_storm(self) -> InStorm:
        """Return what becomes of its first messages in a storm."""
        ...

    def plan(self, wanted: Wanted) -> Step | None:
        """Return the next step, or None when what is delivered equals what is wanted. Pure."""
        ...

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        """Carry one step out and return the part's new receipt. Raises `receiver.errors.DeliveryError`."""
        ...

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Look for what an earlier, unanswered try of a creating step may have made, by our own key.

        Returns None when it is surely not there (yet). Raises DestinationRefused when looking is not allowed.
        """
        ...

    def link(self, root: Receipt) -> str:
        """Return a URL at which a person sees the root, or the empty string."""
        ...

    async def probe(self) -> None:
        """Ask, without posting anything, whether the destination would take us. Raises DeliveryError."""
        ...


@runtime_checkable
class Inspects(Protocol):
    """A sender that can tell what its deliveries have to do without. Asked by people, never by the service."""

    async def shortcomings(self) -> tuple[str, ...]:
        """Return what is missing, such as a scope, although the destination takes us. Raises DeliveryError."""
        ...


class Kind(Protocol):
    """One kind of destination: its settings model, its identity and its sender. See ALL."""

    kind: ClassVar[str]
    config_key: ClassVar[str]
    """Such as `slack_configs`."""
    settings: ClassVar[type[Any]]
    """pydantic model of the kind's own keys."""

    def target(self, settings: Any) -> str:
        """Return what identifies the destination: never a secret's content."""
        ...

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> Sender:
        """Return a sender over a client that already knows proxy, TLS, sign-in and time-outs."""
        ...
