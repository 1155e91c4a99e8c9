"""Finds the pods of failed VMs, the cheapest way first: labels, hook Jobs, claims, names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from receiver.enrichers import Context, Text, missing
from receiver.enrichers.pods import Source, name_of, named_for, of_run, selector, sources_of, vm_of
from receiver.enrichers.reading import dig, strings, text
from receiver.kube import ClusterError
from receiver.model import LogExcerpt, Missing, VMFailure

POPULATORS = 8
NO_POD = "no pod is left"

_HOOK_STEPS = frozenset({"PreHook", "PostHook"})
_DISK_STEPS = frozenset({"DiskAllocation", "DiskTransfer", "Cutover"})
_GENERIC = ("conversion pod failed", "conversion pod in unknown state")
_IMPORTER = "cdi.kubevirt.io/storage.import.importPodName"
_IMPORTERS = "app=containerized-data-importer"
_LAUNCHER = "kubevirt.io/migrationJobUID"


@dataclass(slots=True)
class Found:
    """What the look-up learnt so far; also what a time-out leaves."""

    pods: dict[str, list[tuple[bool, str, Mapping[str, Any]]]] = field(default_factory=dict)
    """VM id → (in the target's cluster, namespace, pod)."""
    excerpts: list[LogExcerpt] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    hidden: int = 0

    def add(self, vm_id: str, at_target: bool, namespace: str, pod: Mapping[str, Any]) -> None:
        known = self.pods.setdefault(vm_id, [])
        if all(name_of(other) != name_of(pod) or place != namespace for _, place, other in known):
            known.append((at_target, namespace, pod))


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
        # The target namespace may be of another cluster, and then the Plan's own is a place of its own.
        places = [(False, self.plan_namespace)]
        if self.ctx.unreadable is not None:
            self.found.missing.append(replace(self.ctx.unreadable, what=self._what(self.failures)))
        elif self.ctx.workload is not None or self.target != self.plan_namespace:
            places.insert(0, (True, self.target))
        await asyncio.gather(*(self._labelled(*place) for place in places))
        if any(failure.step in _HOOK_STEPS for failure in self.failures) and self.selector:
            await self._hooks()
        if self.ctx.unreadable is not None:
            return
        if self.ctx.known.mode == "live" and self.selector:
            await self._launchers()
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
        by_place: dict[tuple[bool, str], list[Mapping[str, Any]]] = {}
        for at_target, namespace, pod in self.found.pods.get(failure.id, ()):
            by_place.setdefault((at_target, namespace), []).append(pod)
        for (at_target, namespace), pods in by_place.items():
            found += (replace(source, at_target=at_target) for source in sources_of(failure, namespace, pods))
        return tuple(found)

    def _what(self, failures: Iterable[VMFailure]) -> str:
        return f"logs of {listed(failure.name for failure in failures)}"

    def _without_pods(self) -> list[VMFailure]:
        return [failure for failure in self.failures if not self.found.pods.get(failure.id)]

    async def _list(
        self,
        at_target: bool,
        kind: str,
        resource: str,
        namespace: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[dict[str, Any], ...]:
        """List; what is refused is noted and counts as empty."""
        if not namespace:
            return ()
        cluster = self.ctx.target if at_target else self.ctx.cluster
        try:
            return await cluster.list(kind, namespace, label_selector=label_selector, field_selector=field_selector)
        except ClusterError as error:
            if error.reason != "not found":
                place = f" of cluster {cluster.name}" if self.ctx.workload is cluster else ""
                right = f"list {resource} in namespace {namespace}{place}"
                self.refusals.append(missing(self._what(self.failures), error, right))
            return ()

    async def _labelled(self, at_target: bool, namespace: str) -> None:
        if not self.selector:
            return
        for pod in await self._list(at_target, "Pod", "pods", namespace, label_selector=self.selector):
            if of_run(pod, self.ctx.run):
                self.found.add(vm_of(pod), at_target, namespace, pod)

    async def _hooks(self) -> None:
        """Hook Jobs carry the labels, their pods carry only the Job's name."""
        jobs = await self._list(False, "Job", "jobs.batch", self.plan_namespace, label_selector=self.selector)
        owners = {name_of(job): vm_of(job) for job in jobs if of_run(job, self.ctx.run) and name_of(job)}
        if not owners:
            return
        query = f"job-name in ({','.join(owners)})"
        for pod in await self._list(False, "Pod", "pods", self.plan_namespace, label_selector=query):
            labels = strings(dig(pod, "metadata", "labels"))
            job = labels.get("job-name") or labels.get("batch.kubernetes.io/job-name", "")
            if job in owners:
                self.found.add(owners[job], False, self.plan_namespace, pod)

    async def _by_claim(self, failures: Sequence[VMFailure]) -> None:
        """Importers of older CDI carry no labels of the plan: the claim, or its prime claim, names them."""
        wanted = {failure.id for failure in failures}
        if not wanted or not self.selector:
            return
        owners: dict[str, str] = {}
        for claim in await self._list(
            True, "PersistentVolumeClaim", "persistentvolumeclaims", self.target, label_selector=self.selector
        ):
            if (vm_id := vm_of(claim)) in wanted and of_run(claim, self.ctx.run):
                uid = text(dig(claim, "metadata", "uid"))
                named = strings(dig(claim, "metadata", "annotations")).get(_IMPORTER, "")
                guesses = [named, f"importer-{name_of(claim)}", f"importer-prime-{uid}", f"populate-{uid}"]
                owners |= {guess: vm_id for guess in guesses if guess}
        if not owners:
            return
        for pod in await self._list(True, "Pod", "pods", self.target, label_selector=_IMPORTERS):
            if owner := owners.get(name_of(pod)):
                self.found.add(owner, True, self.target, pod)
        left = {failure.id for failure in self._without_pods()}
        populators = [name for name, vm_id in owners.items() if vm_id in left and name.startswith("populate-")]
        for name in populators[:POPULATORS]:
            try:
                pod_found = await self.ctx.target.get("Pod", self.target, name)
            except ClusterError:
                continue
            if pod_found is not None:
                self.found.add(owners[name], True, self.target, pod_found)

    async def _launchers(self) -> None:
        """The receiving virt-launcher carries no label of the plan, only the UID of KubeVirt's own migration."""
        kind, resource = "VirtualMachineInstanceMigration", "virtualmachineinstancemigrations.kubevirt.io"
        owners: dict[str, str] = {}
        for one in await self._list(True, kind, resource, self.target, label_selector=self.selector):
            if not of_run(one, self.ctx.run):
                continue
            owners[text(dig(one, "metadata", "uid"))] = vm_of(one)
            if why := text(dig(one, "status", "migrationState", "failureReason")):
                self._reason(vm_of(one), self.target, name_of(one), "VirtualMachineInstanceMigration", why)
        uids = ",".join(uid for uid in owners if uid)
        if not uids:
            return
        for pod in await self._list(True, "Pod", "pods", self.target, label_selector=f"{_LAUNCHER} in ({uids})"):
            if owner := owners.get(strings(dig(pod, "metadata", "labels")).get(_LAUNCHER, "")):
                self.found.add(owner, True, self.target, pod)

    async def _by_name(self, failures: Sequence[VMFailure]) -> None:
        """A must-gather has logs of pods but no Pod objects, so no labels and no phase: only those are asked for."""
        for pod in await self._list(True, "Pod", "pods", self.target, field_selector="status.phase="):
            for failure in failures:
                if named_for(name_of(pod), self.plan_name, failure):
                    self.found.add(failure.id, True, self.target, pod)

    async def _explain(self, failures: Sequence[VMFailure]) -> None:
        """Say that there is nothing to read; a Conversion may still tell the reason."""
        if any(failure.step == "ImageConversion" for failure in failures) and self.selector:
            for conversion in await self._list(
                False,
                "Conversion",
                "conversions.forklift.konveyor.io",
                self.plan_namespace,
                label_selector=self.selector,
            ):
                message = text(dig(conversion, "status", "message"))
                if of_run(conversion, self.ctx.run) and message and not message.endswith(_GENERIC):
                    self._reason(vm_of(conversion), self.plan_namespace, name_of(conversion), "Conversion", message)
        self.found.missing.append(Missing(self._what(failures), NO_POD, passing=False))
        self.found.missing += self.refusals  # of Conversions, which might have told

    def _reason(self, vm_id: str, namespace: str, name: str, kind: str, message: str) -> None:
        """Keep what an object other than a pod says of a VM's failure."""
        said, hidden = self.ctx.redactor.text(message)
        self.found.hidden += hidden
        self.found.texts.append(Text("reason", vm_id, said))
        vm = next((failure.name for failure in self.failures if failure.id == vm_id), vm_id)
        self.found.excerpts.append(LogExcerpt(vm, namespace, name, kind, (said,)))


def listed(names: Iterable[str]) -> str:
    """Return "a, b and c", each once."""
    every = list(dict.fromkeys(names))
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"
