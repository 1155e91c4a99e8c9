"""When a wait is told, and in which words. Pure: blocks, marks and conditions in, what our own alerts say out.

*When*: `watch.stuck_after` from where the wait began, as its own objects tell it. Where KubeVirt gives up earlier than
that, after TELL_S: somebody may still free what lacks before the VM fails. A VM of which nothing tells why it stands
still is told after the limit of its phase (`receiver.stuck.limits`).

*What*: who waits for what, since when, whether that ends by itself and what it keeps from others, one alert per Plan.
Amounts are left to the evidence: they change all the time, and an alert that says something else is news.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from receiver.stuck import Block, NotReady, Stuck
from receiver.watch_rules import Notice

TELL_S = 60.0
"""A wait that ends with the failure of its VM is told after so long."""
NEWS_S = 3_600.0
"""A Plan that nobody runs and that has not been ready for longer than this when we first see it is no news."""
_NAMES = 5
_LINES = 5
_WORDS = 400

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Waits:
    """What a Plan waits for, long enough to be told."""

    blocks: tuple[Block, ...] = ()
    still: tuple[Stuck, ...] = ()
    """VMs that stand still, and nothing tells why."""

    def __bool__(self) -> bool:
        return bool(self.blocks or self.still)


def waits_of(blocks: Sequence[Block], still: Sequence[Stuck], now: datetime, stuck_after_s: float) -> Waits:
    """Return what has lasted for so long that it is told. `since` of each block is when it began."""
    lasting = tuple(one for one in blocks if not one.information and _lasts(one, now, stuck_after_s))
    # Whatever stands still with a block has its reason, be it told yet or not.
    known = {one.vm_id for one in blocks}
    return Waits(lasting, tuple(one for one in still if one.vm_id not in known))


def _lasts(block: Block, now: datetime, stuck_after_s: float) -> bool:
    if block.since is None:
        return False
    after_s = stuck_after_s
    if block.ends_by_itself and _ends_within(block, block.since, stuck_after_s):
        after_s = min(TELL_S, stuck_after_s)
    return now - block.since >= timedelta(seconds=after_s)


def _ends_within(block: Block, since: datetime, seconds: float) -> bool:
    if block.deadline is not None:
        return block.deadline - since <= timedelta(seconds=seconds)
    return block.ends_after_s is not None and block.ends_after_s <= seconds


def stuck_notice(waits: Waits, total: int, redact: Redact) -> Notice | None:
    """Return what the alert says of VMs that wait, of so many in the Plan; None where none does."""
    if not waits:
        return None
    names = [redact(one.vm) for one in waits.blocks] + [redact(one.name) for one in waits.still]
    if not waits.blocks and all(one.unseen for one in waits.still):
        after = _span(min(one.limit_s for one in waits.still))
        who = f"VM {names[0]} has" if len(names) == 1 else f"{len(names):,} of {max(total, len(names)):,} VMs have"
        listed = f": {_listed(names)}" if len(names) > 1 else ""
        summary = f"{who} not finished the transfer after {after}, and its progress cannot be seen{listed}"
    elif len(names) == 1:
        why = _short(redact(waits.blocks[0].cause), 200) if waits.blocks else f"no progress in {waits.still[0].phase}"
        summary = f"VM {names[0]} stands still: {why}"
    else:
        summary = f"{len(names):,} of {max(total, len(names)):,} VMs of the plan stand still: {_listed(names)}"
    lines = [_of_block(block, names_of, redact) for block, names_of in _grouped(waits.blocks)]
    lines += [_of_still(one, redact) for one in waits.still]
    more = len(lines) - _LINES
    said = [*lines[:_LINES], *([f"And {more:,} more reasons."] if more > 0 else [])]
    return Notice(summary, "\n".join(said))


def _grouped(blocks: Sequence[Block]) -> list[tuple[Block, list[str]]]:
    """Return the blocks that are the same for several VMs once: the one that began first, with all names."""
    found: dict[tuple[str, str, str], list[Block]] = {}
    for one in blocks:
        found.setdefault((one.kind, one.scope, one.cause), []).append(one)
    return [
        (min(same, key=lambda one: one.since or datetime.max.replace(tzinfo=UTC)), [one.vm for one in same])
        for same in found.values()
    ]


def _of_block(block: Block, names: Sequence[str], redact: Redact) -> str:
    at = f" ({block.phase})" if block.phase else ""
    since = f" since {_when(block.since)}" if block.since is not None else ""
    said = [f"{_listed([redact(one) for one in names])}{at}{since}: {_short(redact(block.cause), _WORDS)}"]
    said.append(_ending(block))
    if block.blocks and len(names) == 1:
        said.append(f"Meanwhile it {'; it '.join(redact(one) for one in block.blocks)}.")
    said.append(f"Who can end it: {block.owner.value}.")
    return " ".join(said)


def _ending(block: Block) -> str:
    if not block.ends_by_itself:
        return "It does not end by itself: nothing here has a time limit."
    when = f" at {_when(block.deadline)}" if block.deadline is not None else ""
    return f"KubeVirt gives up{when}, and then the migration of the VM fails."


def _of_still(one: Stuck, redact: Redact) -> str:
    step = f" of {one.step}" if one.step and one.step != one.phase else ""
    if one.unseen:
        return (
            f"{redact(one.name)} has been in {one.phase}{step} since {_when(one.since)}, for more than "
            f"{_span(one.limit_s)}. It may still be copying: its progress cannot be seen from here. KubeVirt sees it, "
            "and gives up by itself where there is none; a very large VM, or a slow line, takes so long."
        )
    return (
        f"{redact(one.name)} has made no progress in {one.phase or 'its phase'}{step} since {_when(one.since)}, which "
        f"usually takes less than {_span(one.limit_s)}. Nothing that was read so far tells why."
    )


def is_news(found: Sequence[NotReady], now: datetime, *, executing: bool) -> bool:
    """Is it worth telling that a Plan is not ready, where nobody was told before?

    Old Plans that nobody runs and that will never be ready are in every cluster.
    """
    if executing:
        return bool(found)
    return any(one.since is None or now - one.since <= timedelta(seconds=NEWS_S) for one in found)


def not_ready_notice(found: Sequence[NotReady], place: str, redact: Redact, *, executing: bool) -> Notice | None:
    """Return what the alert says of a Plan (`place`: namespace/name) that is not ready; None where it is."""
    if not found:
        return None
    state = "runs and cannot go on" if executing else "is not ready"
    more = f", and {len(found) - 1:,} more" if len(found) > 1 else ""
    summary = f"Plan {place} {state}: {_short(redact(found[0].line), 200)}{more}"
    lines = [
        f"{_short(redact(one.line), _WORDS)}{f' (since {_when(one.since)})' if one.since is not None else ''}"
        for one in found[:_LINES]
    ]
    hidden = len(found) - _LINES
    said = [*lines, *([f"And {hidden:,} more."] if hidden > 0 else [])]
    what = "VMs that are under way may be canceled by Forklift" if executing else "It cannot be started until then"
    return Notice(summary, "\n".join([*said, f"{what}; this ends when the plan is Ready."]))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _span(seconds: float) -> str:
    return f"{seconds / 3_600:g} h" if seconds > 3 * 3_600 else f"{seconds / 60:g} min"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
