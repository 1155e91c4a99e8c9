"""What a template may use: every variable, its type, its meaning. `templates/README.md` holds the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

_T = TypeVar("_T")


def _v(default: _T, meaning: str) -> _T:
    declared: _T = field(default=default, metadata={"meaning": meaning})
    return declared


@dataclass(frozen=True, slots=True)
class VM:
    """A row of `vms`."""

    name: str = _v("", "name of the VM")
    id: str = _v("", "its id at the source provider")
    step: str = _v("", "pipeline step that failed, such as ImageConversion")
    failed_at: str = _v("", "time with zone")
    was: str = _v("", "power state of the source before: On, Off or empty")
    now: str = _v("", "power state of the source now: on, off or empty")
    guest: str = _v("", "guest system")
    progress: str = _v("", "how far the failed step was")
    took: str = _v("", "how long it ran until it failed, such as 2 h 21 min")
    disks: str = _v("", "sizes of its disks, such as 80 GiB + 100 GiB")
    tasks: tuple[str, ...] = _v((), "disks of the failed step and how far each came, at most 4")
    precopies: str = _v("", "warm migrations: how many precopies, and when the last began")


@dataclass(frozen=True, slots=True)
class Group:
    """An item of `groups`."""

    step: str = _v("", "pipeline step that failed")
    reason: str = _v("", "what MTV says; empty below full content")
    names: str = _v("", "names of its VMs, in words")
    count: int = _v(0, "number of its VMs")


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item of `waits`."""

    names: str = _v("", "names of the VMs, in words")
    count: int = _v(0, "number of these VMs")
    id: str = _v("", "id of what they wait for, as of a known cause")
    cause: str = _v("", "what they wait for, in one sentence; print it with `| codes`")
    told: bool = _v(False, "it is the story's cause, in the same words")
    lacks: str = _v("", "what is needed, free and short")
    since: str = _v("", "since when")
    ends: str = _v("", "whether it ends by itself, and how; empty once it is over")
    seen: str = _v("", "when it was last seen, where the VM has failed since; else empty")
    owner: str = _v("", "who can cure it")


@dataclass(frozen=True, slots=True)
class Log:
    """An item of `logs`."""

    caption: str = _v("", "VM, container and place in the log")
    lines: tuple[str, ...] = _v((), "decisive lines, redacted and cut")


@dataclass(frozen=True, slots=True)
class Do:
    """An item of `do_now`."""

    text: str = _v("", "what to do; print it with `| codes`")
    command: str = _v("", "a command that does or prepares it, or empty")


@dataclass(frozen=True, slots=True)
class Command:
    """An item of `commands`."""

    caption: str = _v("", "what for")
    command: str = _v("", "one command, complete")


@dataclass(frozen=True, slots=True)
class Pair:
    """An item of `labels`."""

    name: str = _v("", "label name")
    value: str = _v("", "label value")


@dataclass(frozen=True, slots=True)
class Thing:
    """An item of `objects`."""

    name: str = _v("", 'kind and name, such as "Pod payments/web-1"')
    state: str = _v("", "its state in a few words")
    bad: tuple[str, ...] = _v((), "its conditions that are not as they should be")


@dataclass(frozen=True, slots=True)
class Teller:
    """An item of `told`."""

    name: str = _v("", "receiver and kind, such as payments/slack")
    url: str = _v("", "link to the message, incident or ticket there, or empty")


@dataclass(frozen=True, slots=True)
class Bar:
    """An item of `bars`."""

    name: str = _v("", "done, failed, running, waiting or canceled")
    number: int = _v(0, "VMs in this state")
    bar: str = _v("", "as long as the number is large")


@dataclass(frozen=True, slots=True)
class StormCause:
    """An item of `causes`."""

    id: str = _v("", "id of the cause")
    cause: str = _v("", "the cause in one sentence; print it with `| codes`")
    owner: str = _v("", "who owns it")
    steps: tuple[str, ...] = _v((), "what to do; print with `| codes`")
    link: str = _v("", "page that says more")
    vms: int = _v(0, "VMs that failed because of it")
    plans: int = _v(0, "stories with it")
    down: int = _v(0, "VMs that are down because of it")


@dataclass(frozen=True, slots=True)
class Place:
    """An item of `places`."""

    name: str = _v("", "namespace")
    plans: int = _v(0, "open stories")
    failed: int = _v(0, "VMs that failed")
    down: int = _v(0, "VMs that are down")


@dataclass(frozen=True, slots=True)
class StormRow:
    """An item of `members` and `strange`."""

    name: str = _v("", "plan, or alert")
    namespace: str = _v("", "where it matters")
    state: str = _v("", "failed, re-running, fixed, canceled, deleted, alert gone or merged")
    failed_of: str = _v("", 'such as "3 of 20"')
    down: int = _v(0, "VMs that are down")
    step: str = _v("", "step that failed")
    vm: str = _v("", "a VM that failed")
    cause: str = _v("", "id of the known cause, or empty")
    line: str = _v("", "without a cause: what its log or plan says")
    url: str = _v("", "page of its story, or empty")


@dataclass(frozen=True, slots=True)
class HandoverLine:
    """An item of `handover`."""

    part: str = _v("", "heading, on the first line of a part, such as Open; else empty")
    name: str = _v("", "what it is about, such as a plan")
    text: str = _v("", "how it stands, in a sentence or two; print it with `| codes`")
    url: str = _v("", "page of its story, or empty")


@dataclass(frozen=True, slots=True)
class Context:
    """All variables. An empty string, 0 and an empty list mean "not known" or "none"; nothing is ever undefined."""

    kind: str = _v("", "kind of the destination: slack, pagerduty, jira, …")
    content: str = _v(
        "full",
        "full; summary (no log lines, no addresses); minimal (state, counts, link: a plan is called by its story's id)",
    )
    ticket: bool = _v(False, "the destination is a ticket: no times that age, no note of a quiet change, nobody told")
    message: str = _v("", "folder of the message that is shown, such as firing or fixed")
    severity: str = _v("", "severity label of the story")
    is_plan: bool = _v(True, "the story is about a migration plan")
    name: str = _v("", "name of the plan; for other alerts the alert's name")
    headline: str = _v("", "other alerts: the alert's summary, else its description, else its name")
    description: str = _v("", "other alerts: description, if it is not the headline")
    labels: tuple[Pair, ...] = _v((), "other alerts: labels that say more than name, severity and place")
    listed: tuple[str, ...] = _v((), "failures from before mtv-receiver was here, those that fire first, at most 20")
    more_listed: int = _v(0, "of these, how many are not in `listed`")
    findings: tuple[str, ...] = _v((), "other alerts: what was found out, the most telling first; print with `| codes`")
    objects: tuple[Thing, ...] = _v((), "other alerts: the objects that it is about, as they are now")
    events: tuple[str, ...] = _v((), "Kubernetes events of what failed, a line each, warnings first")
    namespace: str = _v("", "where it matters: target namespace, else owner namespace, else the plan's own")
    plan_namespace: str = _v("", "namespace of the Plan object")
    cluster: str = _v("", "cluster the alert came from")
    where: str = _v("", 'namespace and cluster, such as "payments-prod on ocp-prod-2", or "namespace unknown"')
    facts: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"meaning": "what routes can match besides labels; print one with `facts.get('plan_label_wave', '')`"},
    )
    details: tuple[str, ...] = _v((), "small print under the headline: where, when, which run")
    reading: bool = _v(False, "evidence is still being read")
    stale: bool = _v(False, "the evidence is of an earlier run than the present one")
    impact: str = _v("unknown", "down, at_risk, none or unknown")
    impact_words: str = _v("", '"VM down", "2 VMs down", "VMs at risk", "No VM down", "Impact not known"')
    impact_text: str = _v("", "who is down since when and what is safe, in a sentence or two; print it with `| codes`")
    down: tuple[str, ...] = _v((), "names of VMs that were on, failed, and run nowhere as far as is known")
    down_names: str = _v("", 'the same in words, such as "a, b and 3 more"')
    failed: int = _v(0, "VMs that failed")
    total: int = _v(0, "VMs of the plan's run; 0 where not known")
    done: int = _v(0, "VMs that are migrated")
    running: int = _v(0, "VMs that are still migrating")
    waiting: int = _v(0, "VMs that have not begun")
    canceled: int = _v(0, "VMs that were canceled")
    failed_of: str = _v("", '"3 of 20 VMs failed", with "so far" while others run')
    others: str = _v("", 'how the other VMs stand, such as "17 done" or "14 running, 3 done"')
    step: str = _v("", "failed step or steps; before evidence the alert's phase")
    vms: tuple[VM, ...] = _v((), "failed VMs, at most 5, those that are down first (tickets: 40)")
    more_vms: int = _v(0, "failed VMs that are not in `vms`")
    standing: tuple[VM, ...] = _v(
        (), "VMs that this run has not failed, but that an earlier run switched off; as `vms`"
    )
    groups: tuple[Group, ...] = _v((), "failed VMs in groups that failed alike, the largest first; empty if all did")
    reasons: tuple[str, ...] = _v((), "what the plan itself says about the failure, at most 3")
    cause: str = _v("", "known cause in one sentence; empty where not recognised. Print it with `| codes`")
    cause_id: str = _v("", "id of the cause, such as guest-bitlocker")
    cause_short: str = _v("", "the cause in two or three words, for headlines")
    certainty: str = _v("", 'such as "3 of 3 logs"')
    owner: str = _v("", "who owns that cause")
    cause_link: str = _v("", "page that says more about that cause")
    unrecognised: str = _v("", "without a cause: the line of log or plan that says most")
    unread: bool = _v(False, "logs of failed VMs could not be read, and none could")
    do_now: tuple[Do, ...] = _v((), "what to do, in order, safe first")
    commands: tuple[Command, ...] = _v((), "commands to copy")
    logs: tuple[Log, ...] = _v((), "log excerpts, at most 12 lines in all (tickets: 40)")
    stuck: bool = _v(False, "the story only tells of VMs that wait: nothing has failed")
    stuck_words: str = _v("", 'of these, for a headline, such as "pay-app-01 refused by quota on west"')
    waits: tuple[Waiting, ...] = _v((), "VMs that wait, equal waits together; of failed VMs what they waited for last")
    more_waits: int = _v(0, "VMs that wait and are not in `waits`")
    room: str = _v("", "what the plan lacks where it goes; empty where there is room, or where nobody looked")
    rooms: tuple[str, ...] = _v((), "the same of other clusters, the best first")
    room_story: str = _v("", "page of the open story about that shortage, or its id where no URL is configured")
    do_one: bool = _v(False, "any one of the steps in `do_now` is enough")
    unknown: tuple[str, ...] = _v((), "what could not be learnt, why, and the cure")
    hidden: int = _v(0, "values that redaction hid")
    run_number: int = _v(0, "which run of the plan, from 1; 0 where not known")
    rerun: bool = _v(False, "the plan was run again during this story")
    started: str = _v("", "when the run started")
    closed: str = _v("", "when the story ended")
    took: str = _v("", "from first failure to end, such as 7 h 22 min")
    opened_at: str = _v("", "when the story opened, for `date`, `tz` and `since`: RFC 3339")
    changed_at: str = _v("", "the same of its last change (never for tickets)")
    closed_at: str = _v("", "the same of its end")
    alert_gone: bool = _v(False, "no alert fires any more, but nothing is fixed (never for tickets)")
    note: str = _v("", "what is odd about the present state (never for tickets)")
    why: str = _v("", "why the story ended as it did, in a sentence")
    continued_in: str = _v("", "URL or id of the story that goes on instead of this one")
    previous: str = _v("", "URL or id of the older story of the same subject")
    late: str = _v("", "how late this message is because the destination or we were away (never for tickets)")
    fallback_for: str = _v("", "destination this one stands in for, and why")
    taken: str = _v("", 'who has taken the story, such as "Ana Costa, 02:04 UTC (PagerDuty)"; empty once it is over')
    moved: bool = _v(False, "somebody gave the story to another receiver: this message is not changed any more")
    moved_to: str = _v("", 'to whom, and by whom, such as "network by Ana Costa (Slack)"')
    told: tuple[Teller, ...] = _v((), "who is told, this destination included (never for tickets)")
    not_told: tuple[str, ...] = _v((), "destinations that refuse (never for tickets)")
    because: str = _v("", "why this destination is told, with route and place (never for tickets)")
    url: str = _v("", "page of the story; empty without web.external_url")
    storm: bool = _v(False, "digests: new failures join")
    since: str = _v("", "digests: when it began")
    plans: int = _v(0, "digests: stories in it")
    plans_words: str = _v("", 'digests: the same in words, such as "31 plans", or "31 failures" if not all are plans')
    plans_open: int = _v(0, "digests: stories that go on")
    plans_fixed: int = _v(0, "digests: stories that ended fixed")
    plans_unread: int = _v(0, "digests: open stories whose evidence is not there yet")
    down_count: int = _v(0, "digests: VMs that are down")
    bars: tuple[Bar, ...] = _v((), "digests: VMs by state, those states that have any")
    causes: tuple[StormCause, ...] = _v((), "digests: known causes, the one with most VMs down first")
    topic: str = _v("", 'digests of tickets: the cause that it is about, or "not recognised"')
    not_recognised: int = _v(0, "digests: VMs that failed for a reason that is not recognised")
    strange: tuple[StormRow, ...] = _v((), "digests: the first of these")
    places: tuple[Place, ...] = _v((), "digests: namespaces, the one with most VMs down first")
    more_places: int = _v(0, "digests: namespaces that are not in `places`")
    members: tuple[StormRow, ...] = _v((), "digests: the first stories, VMs down first (tickets: 40)")
    more_members: int = _v(0, "digests: stories that are not in `members`")
    handover: tuple[HandoverLine, ...] = _v((), "handovers: what the next shift must know, line by line")
    text: str = _v("", "entries: what happened, in a sentence")
    at: str = _v("", "entries: when")
    earlier: tuple[str, ...] = _v((), "entries: what happened before and was not sent on its own, oldest first")


PARTS: Mapping[str, type[Any]] = {
    "vms": VM,
    "groups": Group,
    "waits": Waiting,
    "logs": Log,
    "do_now": Do,
    "commands": Command,
    "labels": Pair,
    "objects": Thing,
    "told": Teller,
    "bars": Bar,
    "causes": StormCause,
    "strange": StormRow,
    "places": Place,
    "members": StormRow,
    "handover": HandoverLine,
}
"""Variables whose items have attributes."""

NAMES = frozenset(variable.name for variable in fields(Context))
"""Everything that a template may name."""


def variables(context: Context) -> dict[str, Any]:
    """Return the context as a template sees it."""
    return {name: getattr(context, name) for name in NAMES}


def declared() -> tuple[tuple[str, str, str], ...]:
    """Return (name, type, meaning) of every variable; attributes of list items as `vms[].name`."""
    rows: list[tuple[str, str, str]] = []
    for variable in fields(Context):
        rows.append((variable.name, _type(variable.type), variable.metadata["meaning"]))
        if variable.name in PARTS:
            rows += [
                (f"{variable.name}[].{part.name}", _type(part.type), part.metadata["meaning"])
                for part in fields(PARTS[variable.name])
            ]
    return tuple(rows)


def _type(annotation: Any) -> str:
    text = str(annotation)
    if text.startswith("tuple["):
        return "list of text" if text == "tuple[str, ...]" else "list"
    return {"str": "text", "int": "number", "bool": "yes/no"}.get(text, "mapping")
