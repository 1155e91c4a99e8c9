"""What to do about autopilot's alerts: steps, safe first, and commands that work with the annotations it really reads.

`platform.kubevirt.io/ignore` and `/force-reconcile` are found in older instructions and are read by nothing; `/patch`
takes an RFC 6902 array only; there is no way to force a reconcile but a restart.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from receiver.enrichers.looking import Look, place, safe
from receiver.enrichers.writers import Writer
from receiver.kube.kinds import Kind

PREFIX = "platform.kubevirt.io/"
OPERATOR = "virt-platform-autopilot"

# Group of a missing kind → the operator that brings it.
_OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "forklift.konveyor.io": "Migration Toolkit for Virtualization",
        "metallb.io": "MetalLB Operator",
        "operator.openshift.io": "Kube Descheduler Operator",
        "observability.openshift.io": "Cluster Observability Operator or Red Hat OpenShift Logging",
        "perses.dev": "Cluster Observability Operator",
        "loki.grafana.com": "Loki Operator",
        "nmstate.io": "Kubernetes NMState Operator",
        "remediation.medik8s.io": "Node Health Check Operator",
    }
)


def thrashing(
    look: Look, kind: Kind, name: str, at: Sequence[str], who: Sequence[Writer], *, paused: bool = True
) -> None:
    """An edit war: stop one side, then lift the pause. In this order, or it starts again within a minute."""
    other = who[0].who if who else "the other writer"
    look.do(f"Stop {other} from changing this object, or let it win (next step).")
    if who and who[0].paths:
        pointers = ",".join(who[0].paths[:10])
        look.do(
            "To let it win on these fields only",
            *("oc", "annotate", kind.resource, name, *at, f"{PREFIX}ignore-fields={pointers}", "--overwrite"),
        )
    else:
        look.do(
            "To let it win on the whole object",
            *("oc", "annotate", kind.resource, name, *at, f"{PREFIX}mode=unmanaged", "--overwrite"),
        )
    if paused:
        look.do(
            "Only then lift the pause; while it stands, autopilot corrects nothing and the alert stays",
            *("oc", "annotate", kind.resource, name, *at, f"{PREFIX}reconcile-paused-"),
        )
    proof = shlex.quote(f'"name":"{name}"')
    look.run("Who changes it, for certain (audit log)", "oc", "adm", "node-logs", "--role=master",
             "--path=kube-apiserver/audit.log", then=f"| grep -F {proof} | grep -E 'update|patch' | tail")  # fmt: skip


def sync_failed(
    look: Look, kind: Kind, name: str, at: Sequence[str], who: Sequence[Writer], *, paused: bool = False
) -> None:
    """An object that cannot be applied: the reason, then the two ways out."""
    look.do("Remove the reason above: a refused field, a webhook that does not answer, a missing right.")
    look.do(
        "If this object is meant to be different, have autopilot leave it alone",
        *("oc", "annotate", kind.resource, name, *at, f"{PREFIX}mode=unmanaged", "--overwrite"),
    )


def tombstone(
    look: Look, kind: Kind, name: str, at: Sequence[str], held: Sequence[str], *, ours: bool, going: str
) -> None:
    """An object that autopilot wants gone: held by finalizers, or not its own."""
    if not ours:
        look.find("It lacks autopilot's label, so it may be somebody else's: autopilot will not delete it.")
        look.do("Ask its owner. If nobody needs it, delete it (this destroys it)",
                "oc", "delete", kind.resource, name, *at)  # fmt: skip
        look.do("If it must stay, the alert can be silenced: nothing is broken by it.")
        return
    if going and held:
        look.find(f"Its deletion waits{going} for the finalizer {', '.join(held[:3])}.")
        look.do(
            "Find out why the owner of that finalizer does not finish; do not remove the finalizer before: what it "
            "guards would be left behind"
        )
    elif going:
        look.find(f"It is being deleted{going} and no finalizer holds it.")
        look.do("Wait a minute, then look again.")
    else:
        look.find("Its deletion was never accepted: a webhook or a missing right refuses it.")
        look.do("Try the deletion without doing it; the answer names who refuses",
                "oc", "delete", kind.resource, name, *at, "--dry-run=server")  # fmt: skip


def dependency(look: Look, group: str, version: str, kind: str, served: Sequence[Kind] | None) -> None:
    """A missing CRD: is it missing still, who brings it, and that it may be unwanted."""
    here = [one for one in served or () if one.group == group]
    if served is not None:
        if any(not version or one.version == version for one in here):
            look.find(f"{kind}.{group} is served by now: the alert should clear by itself.")
        elif here:
            look.find(f"The cluster serves {kind}.{group} as {here[0].version}, not as {version} (as preferred).")
        else:
            elsewhere = f" (only {', '.join(sorted({one.group or 'core' for one in served}))} has a kind {kind})"
            look.find(f"The CRD of {kind}.{group} is not installed{elsewhere if served else ''}.")
    if here:
        return
    if operator := _OPERATORS.get(group):
        look.do(f"If it is wanted, install {operator}: it brings {kind}.")
    else:
        look.do(f"If it is wanted, install the operator that brings {kind}.{group}.")
    look.do("If not, turn the feature off on HyperConverged or silence the alert: nothing else is broken.")
    if safe(group):
        look.run("What the cluster serves of that group", "oc", "api-resources", f"--api-group={group}")


def storage(look: Look, classes: Sequence[str], defaults: Sequence[str]) -> None:
    """Logging without a default storage class."""
    if defaults:
        look.find(f"The default storage class is {', '.join(defaults)} now: the alert should clear by itself.")
        return
    look.find(
        f"None of the {len(classes)} storage classes is the default." if classes else "There is no storage class."
    )
    body = '{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}'
    chosen = [name for name in classes if safe(name)]
    if len(chosen) == 1:
        look.do("Make it the default", "oc", "patch", "storageclass", chosen[0], "-p", body)
    elif chosen:
        look.do(f"Make one of {', '.join(chosen[:5])} the default (annotation is-default-class).")
    look.do("Or name a storage class for logging, if this cluster is to have no default.")
    look.run("The storage classes", "oc", "get", "storageclass")


def staged(look: Look, pool: str, config: str) -> None:
    """A MachineConfig that waits: nothing is broken, and rolling it out restarts nodes."""
    what = f"MachineConfig {config}" if config else "A MachineConfig"
    look.find(f"{what} is staged for pool {pool or '?'}: nothing is broken. Rolling it out restarts the pool's nodes.")
    look.do("Plan a maintenance window: VMs on these nodes are moved or stopped. Until then this can be silenced.")
    if safe(pool):
        look.run("The pool and its nodes", "oc", "get", "machineconfigpools.machineconfiguration.openshift.io", pool)
    if safe(config):
        look.run(
            "What would change", "oc", "get", "machineconfigs.machineconfiguration.openshift.io", config, "-o", "yaml"
        )


def render_failed(look: Look, asset: str, reason: str) -> None:
    """A template of autopilot's that could not be filled in."""
    look.find(f"Asset {asset or '?'} could not be rendered" + (f": {reason}." if reason else "."))
    look.do("Correct what the reason names, mostly a value on HyperConverged; autopilot tries again by itself.")


def commands(look: Look, namespace: str, about: str) -> None:
    """The commands that fit every alert of autopilot's."""
    look.run("What autopilot reported", "oc", "get", "events", *place(namespace), "--sort-by=.lastTimestamp",
             "--field-selector", "involvedObject.kind=HyperConverged")  # fmt: skip
    if safe(about):
        words = ("oc", "logs", *place(namespace), "-l", f"app={OPERATOR}", "--since=1h", "--tail=-1")
        look.run("Its log about this", *words, then=f"| grep -F -- {shlex.quote(about)}")
