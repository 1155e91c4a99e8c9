"""Which objects the labels of an alert name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_OBJECTS = 2

# Label → kind, the most telling first. `job` is not among them: it is the name of the scrape job.
_LABELS = (
    ("vm", "VirtualMachine"),
    ("vmi", "VirtualMachineInstance"),
    ("persistentvolumeclaim", "PersistentVolumeClaim"),
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("job_name", "Job"),
    ("node", "Node"),
    ("persistentvolume", "PersistentVolume"),
)


@dataclass(frozen=True, slots=True)
class Named:
    """An object as labels name it."""

    kind: str
    namespace: str
    name: str


def named_by(labels: Mapping[str, str], *, exporters: bool = True) -> tuple[Named, ...]:
    """Return the objects that an alert's labels name, at most two, the one that it is about first.

    A scrape adds the labels `pod`, `container`, `job` and `service` of the *exporter*. Where Prometheus had to move the
    alert's own aside they are called `exported_…`; where other labels name an object, a bare `pod` is the exporter's,
    if its name begins as that of the service or scrape job. Without `exporters` such a pod never counts, and beside
    another `exported_namespace` no bare `pod` does: the alert, and whoever owns it, is of that namespace.
    """
    namespace = labels.get("exported_namespace") or labels.get("namespace", "")
    found: list[Named] = []
    if exported := labels.get("exported_pod"):
        found.append(Named("Pod", namespace, exported))
    if labels.get("kind") and labels.get("name"):
        found.append(Named(labels["kind"], namespace, labels["name"]))
    found += [Named(kind, namespace, name) for label, kind in _LABELS if (name := labels.get(label, ""))]
    pod = labels.get("pod", "")
    elsewhere = namespace != labels.get("namespace", "")
    wanted = not elsewhere and (not _is_exporter(labels, pod) or (exporters and not found))
    if pod and wanted and not labels.get("exported_pod"):
        # A pod is more telling than the node that it runs on, and less than the claim or VM that it serves.
        at = next((at for at, one in enumerate(found) if one.kind in ("Node", "PersistentVolume")), len(found))
        found.insert(at, Named("Pod", namespace, pod))
    return tuple(dict.fromkeys(found))[:MAX_OBJECTS]


def _is_exporter(labels: Mapping[str, str], pod: str) -> bool:
    names = (labels.get("service", ""), labels.get("job", "").rpartition("/")[2])
    return "exported_namespace" in labels or any(name and pod.startswith(f"{name}-") for name in names)
