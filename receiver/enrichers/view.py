"""Reads what a running Plan's VMs wait for: their objects at the target, and the source's side of live migrations.

Two rounds: what bears the Plan's label, and then what only those objects name (receiver pods). The controller's log
is large and read last, only for VMs that stand still without any object that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from receiver.enrichers import missing
from receiver.enrichers.controller import CONTROLLER_NAMESPACES, read_logs
from receiver.enrichers.pods import name_of
from receiver.enrichers.reading import dig, mapping, moment, strings, text
from receiver.kube import Cluster, ClusterError
from receiver.kube.kinds import is_name, kind_of
from receiver.model import Missing
from receiver.stuck import View, find_blocks
from receiver.stuck.view import ended, queued, vms_of

MAX_EVENTS: Final = 600
MAX_LOG_LINES: Final = 400
MAX_NAMESPACES: Final = 10
"""Source namespaces that are asked."""
MAX_UIDS: Final = 40
"""Migrations whose pods are asked for by name: a longer selector would not fit into an address."""
STILL: Final = timedelta(minutes=2)
"""How long a VM has been under way before the controller's log is asked about it."""

_JOB_UID = "kubevirt.io/migrationJobUID"
_VM_NAME = "vm.kubevirt.io/name"
_PRIME = "cdi.kubevirt.io/storage.populator.pvcPrime"
_OVER = frozenset({"Succeeded", "Failed"})
# Events that are no warnings, and tell how far a volume is.
_TELLING = frozenset({"ExternalProvisioning", "ProvisioningSucceeded"})
_ABOUT = frozenset(
    {"Pod", "PersistentVolumeClaim", "DataVolume", "VirtualMachineInstance", "VirtualMachineInstanceMigration"}
)
# Phases in which Forklift only creates or renames something: a VM that stays there meets an error that only the
# controller's log tells. In all others a long stay is usual, or the objects tell.
_LOGGED = frozenset(
    {
        "", "Started", "CreateSecrets", "CreateConfigMaps", "EnsurePreference", "EnsureInstanceType",
        "EnsureDataVolumes", "EnsurePersistentVolumeClaims", "CreateTarget", "SetOwnerReferences",
        "CreateServiceExports", "CreateDataVolumes", "CreateVM", "StorePowerState",
    }
)  # fmt: skip

_Objects = tuple[dict[str, Any], ...]


async def read_view(
    home: Cluster,
    target: Cluster,
    plan: Mapping[str, Any],
    now: datetime,
    *,
    source: Cluster | None,
    timeout_s: float,
    controller_namespaces: Sequence[str] = CONTROLLER_NAMESPACES,
) -> tuple[View, tuple[Missing, ...]]:
    """Return the objects of a running Plan within `timeout_s` seconds, and what could not be read.

    `home` holds the Plan, `target` its target namespace; `source` is the cluster that live VMs leave, None where it is
    not known or cannot be read. Raises nothing that a cluster could cause. The objects are as the cluster wrote them:
    redact what is kept or shown of them.
    """
    reading = _Reading(home, target, source, plan, now)
    try:
        async with asyncio.timeout(timeout_s):
            await reading.first()
            await reading.second()
            if reading.unexplained():
                await reading.controller(controller_namespaces)
    except TimeoutError:
        reading.late()
    return reading.view(), reading.missing()


class _Reading:
    """What was read so far; also what a time-out leaves."""

    def __init__(
        self, home: Cluster, target: Cluster, source: Cluster | None, plan: Mapping[str, Any], now: datetime
    ) -> None:
        self.home, self.target, self.plan, self.now = home, target, plan, now
        self.source = target if source is None and _one_cluster(plan) else source
        self.uid = text(dig(plan, "metadata", "uid"), 100)
        self.space = text(dig(plan, "spec", "targetNamespace"), 253) or text(dig(plan, "metadata", "namespace"), 253)
        self.live = dig(plan, "spec", "type") == "live"
        self.found: dict[str, _Objects] = {}
        self.log: tuple[str, ...] = ()
        self._asked: dict[str, str] = {}
        """What is being asked for, by the key of its answer."""
        self._refused: dict[tuple[str, str, str], tuple[ClusterError, dict[str, None]]] = {}
        self._more: list[Missing] = []

    async def first(self) -> None:
        """Everything that bears the Plan's label; claims and events as they are, since some bear none."""
        if not is_name(self.uid) or not is_name(self.space):
            return
        label = f"plan={self.uid}"
        asked = [
            self._list("pods", self.target, "Pod", self.space, label),
            self._list("claims", self.target, "PersistentVolumeClaim", self.space),
            self._list("volumes", self.target, "DataVolume", self.space, label),
            self._list("events", self.target, "Event", self.space),
        ]
        if self.live:
            job = "VirtualMachineInstanceMigration"
            asked.append(self._list("receive", self.target, job, self.space, label))
            asked.append(self._list("vmis", self.target, "VirtualMachineInstance", self.space, label))
            if self.source is not None:
                asked += [self._list(f"send {one}", self.source, job, one, label) for one in self._source_namespaces()]
        await asyncio.gather(*asked)

    async def second(self) -> None:
        """Receiver pods bear no label of the Plan, only the UID of KubeVirt's migration, or at least the VM's name."""
        if not self.live or not is_name(self.uid) or not is_name(self.space):
            return
        known = "receive" in self.found
        going = [one for one in self.found.get("receive", ()) if dig(one, "status", "phase") not in _OVER]
        uids = [uid for one in going if is_name(uid := text(dig(one, "metadata", "uid"), 100))]
        if known and not uids:
            return
        by_uid = f"{_JOB_UID} in ({','.join(uids)})" if known and len(uids) <= MAX_UIDS else _JOB_UID
        await self._list("receivers", self.target, "Pod", self.space, by_uid)
        names = self._targets()
        self.found["receivers"] = tuple(
            pod
            for pod in self.found.get("receivers", ())
            if (_labels(pod).get(_JOB_UID) in uids if known else _labels(pod).get(_VM_NAME) in names)
        )
        if self._is_refused("Pod") and not self.found.get("vmis"):
            # A pod's condition stands on its instance, too; that bears the VM's name, and labels only by chance.
            await self._list("vmis", self.target, "VirtualMachineInstance", self.space)
            self.found["vmis"] = tuple(one for one in self.found.get("vmis", ()) if name_of(one) in names)

    def unexplained(self) -> bool:
        """Does a VM stand still in a phase that takes seconds, without an object that says why?"""
        told = {one.vm_id or one.vm for one in find_blocks(self.view())}
        for vm in vms_of(self.view()):
            if ended(vm) or queued(vm) or text(vm.get("phase"), 100) not in _LOGGED:
                continue
            since = moment(vm.get("started")) or moment(dig(self.plan, "status", "migration", "started"))
            is_told = text(vm.get("id"), 253) in told or text(vm.get("name"), 253) in told
            if not is_told and since is not None and self.now - since >= STILL:
                return True
        return False

    async def controller(self, namespaces: Sequence[str]) -> None:
        """Read what the controller logged about this Plan."""
        name = text(dig(self.plan, "metadata", "name"), 253)
        self._asked["log"] = "forklift-controller's log"
        logs, refused = await read_logs(self.home, namespaces, "what VMs wait for (controller log)")
        del self._asked["log"]
        lines = (line for _, _, raw in logs for line in raw.split("\n"))
        self.log = tuple(line for line in lines if name and name in line and "error" in line)[-MAX_LOG_LINES:]
        if not logs:
            self._more += refused

    def late(self) -> None:
        """Say what has not been answered in time."""
        self._more.append(
            Missing(
                f"what VMs wait for ({', '.join(dict.fromkeys(self._asked.values())) or 'no answer'})",
                "timeout",
                "asked again",
            )
        )

    def view(self) -> View:
        """Return what there is by now."""
        send = [one for key, listed in self.found.items() if key.startswith("send ") for one in listed]
        pods = {
            (text(dig(pod, "metadata", "namespace")), name_of(pod)): pod
            for pod in (*self.found.get("pods", ()), *self.found.get("receivers", ()))
        }
        volumes = self.found.get("volumes", ())
        return View(
            plan=self.plan,
            now=self.now,
            pods=tuple(pods.values()),
            claims=self._claims(volumes),
            data_volumes=volumes,
            vmis=self.found.get("vmis", ()),
            target_migrations=tuple(one for one in self.found.get("receive", ()) if dig(one, "spec", "receive")),
            # Within one cluster the same list holds both sides of a migration.
            source_migrations=tuple(one for one in send if dig(one, "spec", "sendTo")),
            events=self._events(),
            log=self.log,
        )

    def missing(self) -> tuple[Missing, ...]:
        """Return what could not be read: all that one cure would give is one entry."""
        said = []
        for (_, _, place), (error, resources) in self._refused.items():
            listed = ", ".join(resources)
            said.append(missing(f"what VMs wait for ({listed})", error, f"list {listed} {place}"))
        return tuple(dict.fromkeys((*said, *self._more)))

    async def _list(self, key: str, cluster: Cluster, kind: str, namespace: str, label_selector: str = "") -> None:
        resource = kind_of(kind).resource
        self._asked[key] = resource
        try:
            self.found[key] = await cluster.list(kind, namespace, label_selector=label_selector)
        except ClusterError as error:
            if error.reason == "not found":  # the kind is not served there, so there is none
                self.found[key] = ()
            else:
                place = f"in namespace {namespace}" + (
                    f" of cluster {cluster.name}" if cluster is not self.home else ""
                )
                why = error.message if error.reason != "forbidden" else ""
                _, resources = self._refused.setdefault((error.reason, why, place), (error, {}))
                resources[resource] = None
        del self._asked[key]

    def _is_refused(self, kind: str) -> bool:
        return any(kind_of(kind).resource in resources for _, resources in self._refused.values())

    def _source_namespaces(self) -> list[str]:
        """Return the namespaces that the VMs leave: the Plan's own list of VMs names them."""
        listed = dig(self.plan, "spec", "vms")
        vms = [*(listed if isinstance(listed, list) else ()), *vms_of(View(self.plan, self.now))]
        spaces = dict.fromkeys(text(mapping(vm).get("namespace"), 253) for vm in vms)
        names = [one for one in spaces if is_name(one)]
        if len(names) > MAX_NAMESPACES:
            what = f"live migrations in {len(names) - MAX_NAMESPACES} of {len(names)} source namespaces"
            self._more.append(Missing(what, "too many to ask", passing=False))
        return names[:MAX_NAMESPACES]

    def _targets(self) -> frozenset[str]:
        """Return the names that the VMs under way have in the target."""
        vms = (vm for vm in vms_of(View(self.plan, self.now)) if not ended(vm))
        return frozenset(
            name for vm in vms for key in ("newName", "targetName", "name") if (name := text(vm.get(key), 253))
        )

    def _claims(self, volumes: _Objects) -> _Objects:
        """Return the Plan's claims, and those through which they are filled (`prime-<UID>`), which bear no label."""
        listed = self.found.get("claims", ())
        of_volumes = {text(dig(one, "status", "claimName"), 253) or name_of(one) for one in volumes}
        own = [
            one
            for one in listed
            if not name_of(one).startswith("prime-")
            and (_labels(one).get("plan") == self.uid or name_of(one) in of_volumes)
        ]
        uids = [text(dig(one, "metadata", "uid"), 100) for one in own]
        told = {f"prime-{uid}" for uid in uids if uid}
        told |= {strings(dig(one, "metadata", "annotations")).get(_PRIME, "") for one in own}
        # Without a UID nothing but its shape tells whose a prime claim is: `receiver.stuck` compares it.
        every = not all(uids)
        primes = (one for one in listed if name_of(one).startswith("prime-") and (every or name_of(one) in told))
        return (*own, *primes)

    def _events(self) -> _Objects:
        """Return the events that can tell of a wait, those about objects that were read first, then the newest."""
        known = {name_of(one) for key, listed in self.found.items() if key != "events" for one in listed}
        known |= self._targets()
        told = [one for one in self.found.get("events", ()) if _tells(one)]
        told.sort(key=_last, reverse=True)
        told.sort(key=lambda one: text(_about(one).get("name"), 253) not in known)
        return tuple(told[:MAX_EVENTS])


def _one_cluster(plan: Mapping[str, Any]) -> bool:
    """Are source and destination the same Provider?"""
    providers = mapping(dig(plan, "spec", "provider"))
    sides = [mapping(providers.get(side)) for side in ("source", "destination")]
    names = [(text(one.get("namespace"), 253), text(one.get("name"), 253)) for one in sides]
    return bool(names[0][1]) and names[0] == names[1]


def _labels(obj: Mapping[str, Any]) -> dict[str, str]:
    return strings(dig(obj, "metadata", "labels"))


def _about(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(event.get("involvedObject")) or mapping(event.get("regarding"))


def _tells(event: Mapping[str, Any]) -> bool:
    kind = text(_about(event).get("kind"), 100)
    return kind in _ABOUT and (event.get("type") == "Warning" or text(event.get("reason"), 100) in _TELLING)


def _last(event: Mapping[str, Any]) -> str:
    """Return when it was last seen, as something that can be sorted."""
    values: Iterable[object] = (
        event.get("lastTimestamp"), dig(event, "series", "lastObservedTime"), event.get("eventTime"),
        event.get("firstTimestamp"),
    )  # fmt: skip
    return next((at.isoformat() for value in values if (at := moment(value))), "")
