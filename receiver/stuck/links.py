"""Which object belongs to which VM of a Plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from receiver.stuck.events import Events
from receiver.stuck.objects import (
    Obj,
    annotation,
    created,
    dig,
    label,
    mapping,
    moment,
    name_of,
    namespace_of,
    phase_of,
    records,
    text,
    uid_of,
)
from receiver.stuck.view import View, Waiting

JOB_UID = "kubevirt.io/migrationJobUID"
JOB_NAME = "kubevirt.io/migrationJobName"
VM_NAME = "vm.kubevirt.io/name"
_PRIME = "cdi.kubevirt.io/storage.populator.pvcPrime"


class Links:
    """Which object belongs to which VM. One pass over each list, so that 500 VMs cost no more than their objects."""

    def __init__(self, view: View) -> None:
        self._plan = uid_of(view.plan)
        history = records(dig(view.plan, "status", "migration", "history"))
        self._run = text(dig(history[-1], "migration", "uid"), 100) if history else ""
        self._namespace = text(dig(view.plan, "spec", "targetNamespace"), 253)
        self._pods = [pod for pod in records(view.pods) if _is_receiver(pod)]
        self._pods_of: dict[str, list[Obj]] = {}
        for pod in self._pods:
            for key in {label(pod, JOB_UID), annotation(pod, JOB_NAME), label(pod, VM_NAME)} - {""}:
                self._pods_of.setdefault(key, []).append(pod)
        self._all_migrations = records(view.target_migrations)
        self._receive = self._by_vm(self._all_migrations, "receive")
        self._send = self._by_vm(records(view.source_migrations), "sendTo")
        self._vmis = {(namespace_of(one), name_of(one)): one for one in records(view.vmis)}
        self._volumes: dict[str, list[Obj]] = {}
        self._claims: dict[str, list[Obj]] = {}
        for target, objects in ((self._volumes, view.data_volumes), (self._claims, view.claims)):
            for one in records(objects):
                if self._ours(one) and (vm := label(one, "vmID")):
                    target.setdefault(vm, []).append(one)
        self._claim_named = {_key(one): one for one in records(view.claims)}
        self._primes = self._primes_of(records(view.claims))
        self.events = Events(view)

    def of(self, vm: Obj) -> Waiting:
        """Return a VM with its objects."""
        vm_id, name = text(vm.get("id"), 253), text(vm.get("name"), 253)
        target = text(vm.get("newName"), 253) or text(vm.get("targetName"), 253) or name
        receive = self._receive.get(vm_id) or {}
        volumes = tuple(self._volumes.get(vm_id, ()))
        claims = self._claims_of(vm_id, volumes)
        namespace = namespace_of(receive) or self._namespace
        return Waiting(
            vm=vm,
            id=vm_id,
            name=name or vm_id or "unnamed VM",
            target=text(dig(receive, "spec", "vmiName"), 253) or target,
            namespace=namespace,
            started=moment(vm.get("started")),
            receive=receive,
            send=self._send.get(vm_id) or {},
            pod=self._pod(receive, target, namespace),
            vmi=self._vmis.get((namespace, text(dig(receive, "spec", "vmiName"), 253) or target), {}),
            claims=claims,
            primes={name_of(one): prime for one in claims if (prime := self._primes.get(_key(one)))},
            data_volumes=volumes,
        )

    def strays(self, known: Sequence[Waiting], targets: frozenset[str]) -> tuple[Waiting, ...]:
        """Return receivers whose VM the Plan does not name; `targets` are the names of all that it does."""
        taken = {id(one.pod) for one in known}
        foreign = {uid_of(one) for one in self._all_migrations}
        found: dict[tuple[str, str], Waiting] = {}
        for pod in self._pods:
            name, namespace = label(pod, VM_NAME), namespace_of(pod)
            if id(pod) in taken or not name or name in targets or label(pod, JOB_UID) in foreign:
                continue
            if self._namespace and namespace and namespace != self._namespace:
                continue
            one = Waiting({}, "", name, name, namespace, None, pod=pod, vmi=self._vmis.get((namespace, name), {}))
            found.setdefault((namespace, name), one)
        return tuple(found.values())

    def _ours(self, obj: Obj) -> bool:
        """An object without labels may be of any Plan; one that names another Plan or run is not of this."""
        plan, run = label(obj, "plan"), label(obj, "migration")
        return not (plan and self._plan and plan != self._plan) and not (run and self._run and run != self._run)

    def _by_vm(self, migrations: Sequence[Obj], role: str) -> dict[str, Obj]:
        """Index by the VM's UID, which is a label and the first half of the migration's id; the newest wins."""
        found: dict[str, Obj] = {}
        for one in migrations:
            spec = mapping(dig(one, "spec", role))
            if not spec or not self._ours(one):
                continue
            joint = text(spec.get("migrationID"), 253)
            vm = label(one, "vmID") or (joint.removesuffix(f"-{self._run}") if self._run else joint[:36])
            before = found.get(vm)
            if vm and (before is None or _age(one) >= _age(before)):
                found[vm] = one
        return found

    def _claims_of(self, vm: str, volumes: Sequence[Obj]) -> tuple[Obj, ...]:
        """Return the claims that bear the VM's label, and those of its DataVolumes, which have the same name."""
        found = {_key(one): one for one in self._claims.get(vm, ())}
        for volume in volumes:
            key = namespace_of(volume), text(dig(volume, "status", "claimName"), 253) or name_of(volume)
            if key in self._claim_named:
                found.setdefault(key, self._claim_named[key])
        return tuple(found.values())

    def _pod(self, receive: Obj, target: str, namespace: str) -> Obj:
        uid, job = uid_of(receive), name_of(receive)

        def is_its(pod: Obj) -> bool:
            if namespace and namespace_of(pod) not in ("", namespace):
                return False
            if uid and label(pod, JOB_UID):
                return label(pod, JOB_UID) == uid
            if job and annotation(pod, JOB_NAME):
                return annotation(pod, JOB_NAME) == job
            return not receive and bool(target) and label(pod, VM_NAME) == target

        near = (pod for key in {uid, job, target} - {""} for pod in self._pods_of.get(key, ()))
        return max((pod for pod in near if is_its(pod)), key=_age, default={})

    def _primes_of(self, claims: Sequence[Obj]) -> dict[tuple[str, str], Obj]:
        """Return the `prime-<UID>` claim of each target claim, by the latter's namespace and name.

        Where the target claim's UID is not known, the prime claim is its own only if no other asks for as much of the
        same class.
        """
        primes = {_key(one): one for one in claims if name_of(one).startswith("prime-")}
        found: dict[tuple[str, str], Obj] = {}
        alone: list[Obj] = []
        for one in claims:
            if name_of(one).startswith("prime-"):
                continue
            told = annotation(one, _PRIME) or f"prime-{uid_of(one)}"
            if prime := primes.pop((namespace_of(one), told), None):
                found[_key(one)] = prime
            elif not uid_of(one) and phase_of(one) != "Bound":
                alone.append(one)
        left, asking = _alike(primes.values()), _alike(alone)
        for shape, same in left.items():
            if len(same) == len(asking.get(shape, ())) == 1:
                found[_key(asking[shape][0])] = same[0]
        return found


def _is_receiver(pod: Obj) -> bool:
    if label(pod, "kubevirt.io") != "virt-launcher" or not (label(pod, JOB_UID) or annotation(pod, JOB_NAME)):
        return False
    return dig(pod, "metadata", "deletionTimestamp") is None and phase_of(pod) not in ("Succeeded", "Failed")


def _key(obj: Obj) -> tuple[str, str]:
    return namespace_of(obj), name_of(obj)


def _shape(claim: Obj) -> tuple[str, str, str]:
    asked = text(dig(claim, "spec", "resources", "requests", "storage"), 40)
    return namespace_of(claim), text(dig(claim, "spec", "storageClassName"), 253), asked


def _alike(claims: Iterable[Obj]) -> dict[tuple[str, str, str], list[Obj]]:
    found: dict[tuple[str, str, str], list[Obj]] = {}
    for one in claims:
        found.setdefault(_shape(one), []).append(one)
    return found


def _age(obj: Obj) -> tuple[bool, str]:
    at = created(obj)
    return at is not None, at.isoformat() if at else ""
