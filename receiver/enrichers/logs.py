"""Logs of the pods that did the failing work: virt-v2v, importers, populators, hooks.

Bounded: three VMs, three pods each, the end of each log, four requests at a time, and only what a failed step can
have left behind is looked for. A re-run deletes these pods, so what is read here is kept in the evidence. Forklift
deletes the receiver pods of a live migration in the moment it fails: then the log is what our watch read meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace

from receiver.enrichers import Context, Part, Text, missing
from receiver.enrichers.lines import clean, decisive_lines, signature
from receiver.enrichers.pods import Source, choose_failures
from receiver.enrichers.search import NO_POD, Found, Search, listed
from receiver.keeping import pack
from receiver.kube import ClusterError
from receiver.model import LogExcerpt, Missing, VMFailure
from receiver.stuck.tails import from_json as tails_of

VMS = 3
# virt-v2v names what it found on a disk long before its error: both must meet in what is read.
TAIL_LINES = 1_000
LIMIT_BYTES = 262_144
REQUESTS_AT_ONCE = 4


class Logs:
    """The enricher."""

    name = "logs"
    budget_s = 8.0

    async def gather(self, ctx: Context) -> Part:
        chosen = choose_failures(ctx.known.failures, VMS)
        if ctx.plan is None or not chosen:
            return Part()
        found = Found()
        names = {failure.id: failure.name for failure in chosen}
        search = Search(ctx, chosen, found)
        # Half of the time to find the pods, so that those found are still read.
        try:
            async with asyncio.timeout(ctx.timeout_s / 2):
                await search.find()
        except TimeoutError:
            found.missing.append(Missing(f"logs of {listed(names.values())}", "timeout", "asked again"))
        sources = [source for failure in chosen for source in search.sources(failure)]
        await self._read(ctx, sources, names, found)
        _add_tails(ctx, chosen, found)
        unread = len(ctx.known.failures) - len(chosen)
        if unread > 0:
            why = f"not read: the logs of {len(chosen)} VMs are read per story"
            found.missing.append(Missing(f"logs of {unread:,} other VMs", why, passing=False))
        return Part(
            logs=_alike(found.excerpts),
            texts=tuple(found.texts),
            missing=_merged(found.missing),
            hidden=found.hidden,
        )

    async def _read(self, ctx: Context, sources: Sequence[Source], names: Mapping[str, str], found: Found) -> None:
        gate = asyncio.Semaphore(REQUESTS_AT_ONCE)
        tasks = {asyncio.create_task(_log(ctx, source, gate)): source for source in sources}
        if not tasks:
            return
        try:
            done, pending = await asyncio.wait(tasks, timeout=ctx.timeout_s * 0.45)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task, source in tasks.items():  # in the order of the sources, not of the answers
            what = f"logs of {names.get(source.vm) or source.vm}"
            if task not in done:
                found.missing.append(Missing(what, "timeout", "asked again"))
                continue
            previous, raw, error = task.result()
            if error is not None:
                found.missing.append(missing(what, error, f"get pods/log in namespace {source.namespace}"))
            _keep(ctx, source, names, raw, previous, found)


async def _log(ctx: Context, source: Source, gate: asyncio.Semaphore) -> tuple[bool, str, ClusterError | None]:
    """Return (previous, text, error): the run before where asked for, else the present one."""
    if not source.container and source.message:
        return False, "", None  # nothing has run yet
    async with gate:
        if source.previous:
            try:
                return True, await _one(ctx, source, previous=True), None
            except ClusterError as error:
                if error.reason != "not found":
                    return True, "", error
        try:
            return False, await _one(ctx, source, previous=False), None
        except ClusterError as error:
            return False, "", error


def _one(ctx: Context, source: Source, *, previous: bool) -> Awaitable[str]:
    cluster = ctx.target if source.at_target else ctx.cluster
    return cluster.log(
        source.namespace,
        source.pod,
        source.container,
        previous=previous,
        tail_lines=TAIL_LINES,
        limit_bytes=LIMIT_BYTES,
    )


def _keep(ctx: Context, source: Source, names: Mapping[str, str], raw: str, previous: bool, found: Found) -> None:
    """Redact before anything else: a cut or a joined line could take a secret apart."""
    whole, hidden = ctx.redactor.text(clean(raw))
    message, hidden_in_message = ctx.redactor.text(source.message)
    found.hidden += hidden + hidden_in_message
    first, lines = decisive_lines(whole)
    if message and not any(message in line for line in lines):
        lines = (*lines, *decisive_lines(message, 1)[1])
    if not lines:
        return
    found.texts.append(Text("log", source.vm, f"{whole}\n{message}"))
    found.excerpts.append(
        LogExcerpt(
            vm=names.get(source.vm) or source.vm,
            namespace=source.namespace,
            pod=source.pod,
            container=source.container,
            lines=lines,
            first_line=first,
            previous=previous,
            read_lines=len(whole.splitlines()),
            kept=pack(whole),
        )
    )


def _add_tails(ctx: Context, chosen: Sequence[VMFailure], found: Found) -> None:
    """Add what receiver pods said before they were deleted, for VMs of which no log was read now."""
    read = {one.vm for one in found.texts if one.source == "log"}
    names = {failure.id: failure.name for failure in chosen if failure.id not in read}
    for tail in tails_of(ctx.kept):
        if tail.vm not in names:
            continue
        said, hidden = ctx.redactor.text(clean(tail.text))  # once more: what is secret may have been configured since
        first, lines = decisive_lines(said)
        if not lines:
            continue
        found.hidden += hidden
        found.texts.append(Text("log", tail.vm, said))
        found.excerpts.append(
            LogExcerpt(
                vm=names[tail.vm],
                namespace=tail.namespace,
                pod=tail.pod,
                container=tail.container,
                lines=lines,
                first_line=first,
                read_lines=len(said.splitlines()),
                kept=pack(said),
                seen_at=tail.at,
            )
        )
        read.add(tail.vm)
    gone = [failure.name for failure in chosen if failure.id not in read and not found.pods.get(failure.id)]
    found.missing = [
        replace(one, what=f"logs of {listed(gone)}") if one.why == NO_POD and gone else one
        for one in found.missing
        if one.why != NO_POD or gone
    ]


def _alike(excerpts: Sequence[LogExcerpt]) -> tuple[LogExcerpt, ...]:
    """Count in how many of the VMs' logs the same error stands: "3 of 3 logs" is worth more than one."""
    vms: dict[str, set[str]] = {}
    for one in excerpts:
        vms.setdefault(signature(one.lines), set()).add(one.vm)
    return tuple(replace(one, alike=len(vms[signature(one.lines)])) for one in excerpts)


def _merged(said: Sequence[Missing]) -> tuple[Missing, ...]:
    """Say the same refusal once, for all VMs that it concerns."""
    by: dict[tuple[str, str, bool], list[str]] = {}
    for one in said:
        whats = by.setdefault((one.why, one.cure, one.passing), [])
        if one.what not in whats:
            whats.append(one.what)
    return tuple(Missing(_joined(whats), why, cure, passing) for (why, cure, passing), whats in by.items())


def _joined(whats: Sequence[str]) -> str:
    prefix = "logs of "
    if len(whats) > 1 and all(what.startswith(prefix) for what in whats):
        return prefix + listed(what.removeprefix(prefix) for what in whats)
    return ", ".join(whats)
