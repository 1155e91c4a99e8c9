"""Finds the pods of failed VMs, the cheapest way first: labels, hook Jobs, claims, names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.enrichers import Context, Text, missing
from receiver.enrichers.pods import Source, name_of, named_for, of_run, selector, sources_of, vm_of
from receiver.enrichers.reading import dig, strings, text
from receiver.kube import ClusterError
from receiver.model import LogExcerpt, Missing, VMFailure

CLAIMS_PER_VM = 4

_HOOK_STEPS = frozenset({"PreHook", "PostHook"})
_DISK_STEPS = frozenset({"DiskAllocation", "DiskTransfer", "Cutover"})
_GENERIC = ("conversion pod failed", "conversion pod in unknown state")
_IMPORTER = "cdi.kubevirt.io/storage.import.importPodName"


@dataclass(slots=True)
class Found:
    """What the look-up learnt so far; also what a time-out leaves."""

    pods: dict[str, list[tuple[str, Mapping[str, Any]]]] = field(default_factory=dict)
    """VM id → (namespace, pod)."""
    excerpts: list[LogExcerpt] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    hidden: int = 0

    def add(self, vm_id: str, namespace: str, pod: Mapping[str, Any]) -> None:
        known = self.pods.setdefault(vm_id, [])
        if all(name_of(other) != name_of(pod) or place != namespace for place, other in known):
            known.append((namespace, pod))


class Search:
    """Finds the pods of the chosen VMs, the cheapest way first."""

    def __init__(self, ctx: Context, failures: Sequence[VMFailure], found: Found) -> None:
        self.ctx, self.failures, self.found = ctx, failures, found
        self.plan_namespace = text(dig(ctx.plan, "metadata", "namespace"))
        self.plan_name = text(dig(ctx.plan, "metadata", "name"))
        self.target = text(dig(ctx.plan, "spec", "targetNamespace")) or self.plan_namespace
        self.selector = selector(text(dig(ctx.plan, "metadata", "uid")), [failure.id for failure in failures])
        self.refusals: list[Missing] = []

    async def find(self) -> None:
        await asyncio.gather(
            *(self._labelled(namespace) for namespace in dict.fromkeys((self.target, self.plan_namespace)))
        )
        hooked = [failure for failure in self.failures if failure.step in _HOOK_STEPS]
        if hooked and self.selector:
            await self._hooks()
        if without := self._without_pods():
            await self._by_claim([failure for failure in without if failure.step in _DISK_STEPS])
        if without := self._without_pods():
            await self._by_name(without)
        if without := self._without_pods():
            if self.refusals:
                self.found.missing += self.refusals  # a namespace that may not be read matters where pods are missing
            else:
                await self._explain(without)

    def sources(self, failure: VMFailure) -> tuple[Source, ...]:
        found: list[Source] = []
        by_place: dict[str, list[Mapping[str, Any]]] = {}
        for namespace, pod in self.found.pods.get(failure.id, ()):
            by_place.setdefault(namespace, []).append(pod)
        for namespace, pods in by_place.items():
            found += sources_of(failure, namespace, pods)
        return tuple(found)

    def _without_pods(self) -> list[VMFailure]:
        return [failure for failure in self.failures if not self.found.pods.get(failure.id)]

    async def _list(self, kind: str, resource: str, namespace: str, **query: str) -> tuple[dict[str, Any], ...]:
        """List; what is refused is noted and counts as empty."""
        if not namespace:
            return ()
        try:
            return await self.ctx.cluster.list(kind, namespace, **query)  # type: ignore[arg-type]
        except ClusterError as error:
            if error.reason != "not found":
                what = f"logs of {listed(failure.name for failure in self.failures)}"
                self.refusals.append(missing(what, error, f"list {resource} in namespace {namespace}"))
            return ()

    async def _labelled(self, namespace: str) -> None:
        if not self.selector:
            return
        for pod in await self._list("Pod", "pods", namespace, label_selector=self.selector):
            if of_run(pod, self.ctx.run):
                self.found.add(vm_of(pod), namespace, pod)

    async def _hooks(self) -> None:
        """Hook Jobs carry the labels, their pods carry only the Job's name."""
        jobs = await self._list("Job", "jobs.batch", self.plan_namespace, label_selector=self.selector)
        owners = {name_of(job): vm_of(job) for job in jobs if of_run(job, self.ctx.run) and name_of(job)}
        if not owners:
            return
        query = f"job-name in ({','.join(owners)})"
        for pod in await self._list("Pod", "pods", self.plan_namespace, label_selector=query):
            labels = strings(dig(pod, "metadata", "labels"))
            job = labels.get("job-name") or labels.get("batch.kubernetes.io/job-name", "")
            if job in owners:
                self.found.add(owners[job], self.plan_namespace, pod)

    async def _by_claim(self, failures: Sequence[VMFailure]) -> None:
        """Importers of older CDI carry no labels of the plan: the claim, or its prime claim, names them."""
        wanted = {failure.id for failure in failures}
        if not wanted or not self.selector:
            return
        claims: dict[str, list[str]] = {}
        listed = await self._list(
            "PersistentVolumeClaim", "persistentvolumeclaims", self.target, label_selector=self.selector
        )
        for claim in listed:
            if (vm_id := vm_of(claim)) in wanted and of_run(claim, self.ctx.run):
                uid = text(dig(claim, "metadata", "uid"))
                named = strings(dig(claim, "metadata", "annotations")).get(_IMPORTER, "")
                guesses = [named] if named else [f"importer-prime-{uid}", f"populate-{uid}"] if uid else []
                claims.setdefault(vm_id, []).extend(guesses)
        for vm_id, names in claims.items():
            for name in names[: CLAIMS_PER_VM * 2]:
                try:
                    pod = await self.ctx.cluster.get("Pod", self.target, name)
                except ClusterError:
                    continue
                if pod is not None:
                    self.found.add(vm_id, self.target, pod)

    async def _by_name(self, failures: Sequence[VMFailure]) -> None:
        """A must-gather has logs of pods but no Pod objects, so no labels and no phase: only those are asked for."""
        for pod in await self._list("Pod", "pods", self.target, field_selector="status.phase="):
            for failure in failures:
                if named_for(name_of(pod), self.plan_name, failure):
                    self.found.add(failure.id, self.target, pod)

    async def _explain(self, failures: Sequence[VMFailure]) -> None:
        """Say why there is nothing to read: another cluster, or no pod left; a Conversion may still tell the reason."""
        what = f"logs of {listed(failure.name for failure in failures)}"
        if any(failure.step == "ImageConversion" for failure in failures) and self.selector:
            for conversion in await self._list(
                "Conversion", "conversions.forklift.konveyor.io", self.plan_namespace, label_selector=self.selector
            ):
                self._conversion(conversion)
        place = self.ctx.known.target_provider
        try:
            namespace = text(dig(self.ctx.plan, "spec", "provider", "destination", "namespace")) or self.plan_namespace
            destination = await self.ctx.cluster.get("Provider", namespace, place) if place else None
        except ClusterError:
            destination = None
        if text(dig(destination, "spec", "url")):
            why = f"the pods run on the destination cluster {place}"
            self.found.missing.append(Missing(what, why, f"list {place} under `clusters`", passing=False))
        else:
            self.found.missing.append(Missing(what, "no pod is left", passing=False))

    def _conversion(self, conversion: Mapping[str, Any]) -> None:
        message, hidden = self.ctx.redactor.text(text(dig(conversion, "status", "message")))
        if not message or not of_run(conversion, self.ctx.run) or message.endswith(_GENERIC):
            return
        self.found.hidden += hidden
        vm_id = vm_of(conversion)
        self.found.texts.append(Text("reason", vm_id, message))
        vm = next((failure.name for failure in self.failures if failure.id == vm_id), vm_id)
        self.found.excerpts.append(LogExcerpt(vm, self.plan_namespace, name_of(conversion), "Conversion", (message,)))


def listed(names: Iterable[str]) -> str:
    """Return "a, b and c", each once."""
    every = list(dict.fromkeys(names))
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"
