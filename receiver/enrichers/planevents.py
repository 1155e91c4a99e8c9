"""What Kubernetes reported about a Plan's run: its Migration, VMs, claims, volumes and pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any

from receiver.enrichers import Context, Part, Text, missing
from receiver.enrichers.events import events_of, redacted
from receiver.enrichers.pods import choose_failures, name_of, of_run, selector
from receiver.enrichers.reading import dig, text
from receiver.enrichers.vms import read_failure, run_vms, state_of
from receiver.kube import Cluster, ClusterError
from receiver.model import Missing, ObjectEvent, VMFailure

VMS = 20
SHOWN = 10
# Forklift's own events only repeat the Plan's conditions, and are sent again when a condition goes.
_REPEATED = frozenset({"Plan", "Migration"})
_DISK_STEPS = ("Initialize", "DiskAllocation", "DiskTransfer", "DiskTransferV2v", "Cutover", "PrepareTarget")
_BEFORE_START = timedelta(minutes=2)


class PlanEvents:
    """The enricher."""

    name = "events"
    budget_s = 6.0

    async def gather(self, ctx: Context) -> Part:
        if ctx.plan is None or not (ctx.known.failures or ctx.known.plan_reasons or ctx.known.counts.running):
            return Part()
        space, name = text(dig(ctx.plan, "metadata", "namespace")), text(dig(ctx.plan, "metadata", "name"))
        target = text(dig(ctx.plan, "spec", "targetNamespace")) or space
        failures = choose_failures(ctx.known.failures, VMS) or _running(ctx.plan)
        found: list[ObjectEvent] = []
        lacking: list[Missing] = []
        await self._read(ctx, ctx.cluster, space, (name, ctx.known.run_name), found, lacking)
        if ctx.unreadable is None and failures:
            names = await self._names(ctx, target, failures)
            await self._read(ctx, ctx.target, target, names, found, lacking)
        run = [event for event in found if self._of_run(event, ctx)]
        shown, hidden = redacted(_ordered(run)[:SHOWN], ctx.redactor)
        texts = tuple(Text("event", "", event.message) for event in shown if event.warning)
        return Part(events=shown, texts=texts, missing=tuple(lacking), hidden=hidden)

    async def _read(
        self,
        ctx: Context,
        cluster: Cluster,
        namespace: str,
        names: Sequence[str],
        found: list[ObjectEvent],
        lacking: list[Missing],
    ) -> None:
        known = [name for name in names if name]
        try:
            found += await events_of(cluster, namespace, names=known, now=ctx.now, limit=SHOWN * 3)
        except ClusterError as error:
            lacking.append(missing(f"events in {namespace}", error, f"list events in namespace {namespace}"))

    async def _names(self, ctx: Context, target: str, failures: Sequence[VMFailure]) -> list[str]:
        """Return the names of what works for the failed VMs: claims and their volumes, pods, target VMs.

        CDI names a DataVolume as its claim, and fills a claim through another one that is named after its UID.
        """
        names = [failure.name for failure in failures]
        labels = selector(text(dig(ctx.plan, "metadata", "uid")), [failure.id for failure in failures])
        if not labels:
            return names
        # Where the disks were done, claims have nothing to tell.
        disks = any(failure.step in ("", *_DISK_STEPS) for failure in failures)
        for kind in ("Pod", "PersistentVolumeClaim") if disks else ("Pod",):
            try:
                listed = await ctx.target.list(kind, target, label_selector=labels)
            except ClusterError:
                continue  # the logs say so
            for obj in listed:
                if of_run(obj, ctx.run) and name_of(obj):
                    names += _kin(obj) if kind == "PersistentVolumeClaim" else [name_of(obj)]
        if ctx.known.mode == "live":
            names += await self._live(ctx, target, failures)
        return list(dict.fromkeys(names))

    async def _live(self, ctx: Context, target: str, failures: Sequence[VMFailure]) -> list[str]:
        """Return KubeVirt's migrations and receiving pods: of a failed live migration only their events are left."""
        try:
            events = await ctx.target.list("Event", target)
        except ClusterError:
            return []  # said where these events are read
        pods = tuple(f"virt-launcher-{failure.name}-" for failure in failures)
        about = [(text(dig(event, "involvedObject", "kind")), about_name(event)) for event in events]
        return [
            name
            for kind, name in about
            if name.startswith(pods) or (kind == "VirtualMachineInstanceMigration" and name.startswith("forklift-"))
        ]

    def _of_run(self, event: ObjectEvent, ctx: Context) -> bool:
        if event.kind in _REPEATED and not event.warning:
            return False
        started = ctx.known.started
        return not (started and event.last and event.last < started - _BEFORE_START)


def about_name(event: Mapping[str, Any]) -> str:
    """Return the name of the object that an event is about."""
    return text(dig(event, "involvedObject", "name"), 253)


def _running(plan: dict[str, Any]) -> tuple[VMFailure, ...]:
    """Return the VMs that still run: of a plan that hangs, events are often all that tells why."""
    running = (vm for vm in run_vms(plan) if state_of(vm) == "running")
    return tuple(read_failure(vm) for vm in islice(running, VMS))


def _kin(claim: Mapping[str, Any]) -> list[str]:
    name, uid = name_of(claim), text(dig(claim, "metadata", "uid"))
    of_uid = [f"prime-{uid}", f"importer-prime-{uid}", f"populate-{uid}"] if uid else []
    return [name, f"importer-{name}", *of_uid]


def _ordered(events: Sequence[ObjectEvent]) -> list[ObjectEvent]:
    """Warnings first, the newest of them first; CDI's copies of an event under another name once."""
    seen: dict[tuple[str, str], ObjectEvent] = {}
    for event in events:
        message = event.message.partition("] : ")[2] if event.message.startswith("[prime-") else event.message
        key = (event.reason, message)
        known = seen.get(key)
        seen[key] = event if known is None else replace(known, count=max(known.count, event.count))
    by_time = sorted(seen.values(), key=lambda event: event.last.timestamp() if event.last else 0.0, reverse=True)
    return sorted(by_time, key=lambda event: not event.warning)
