"""Pods as the scheduler counts them: decoding pages of them cheaply, and the effective requests of one.

Only the fields that decide are read. The rule is that of k8s.io/component-helpers/resource (`PodRequests`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from receiver.capacity.reading import dig, mapping, records, text
from receiver.capacity.vector import Vector, add_into, raise_to, read_vector

FINISHED: Final = frozenset({"Succeeded", "Failed"})
_SIDECAR: Final = "Always"
_POD_LEVEL: Final = ("cpu", "memory")
_HUGEPAGES: Final = "hugepages-"

_Amounts = dict[str, Any]


class _Requests(msgspec.Struct, gc=False):
    requests: _Amounts | None = None


class _Container(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    resources: _Requests | None = None
    restart_policy: str | None = None


class _Meta(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""


class _Spec(msgspec.Struct, rename="camel", gc=False):
    node_name: str | None = None
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    overhead: _Amounts | None = None
    resources: _Requests | None = None


class _ContainerState(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    resources: _Requests | None = None
    allocated_resources: _Amounts | None = None


class _Condition(msgspec.Struct, gc=False):
    type: str = ""
    reason: str | None = None


class _Status(msgspec.Struct, rename="camel", gc=False):
    phase: str | None = None
    conditions: list[_Condition] | None = None
    container_statuses: list[_ContainerState] | None = None
    init_container_statuses: list[_ContainerState] | None = None


class Pod(msgspec.Struct, gc=False):
    """The fields of a pod that say what it holds, and where. Made by `decode_page` or `read_pod`."""

    metadata: _Meta = msgspec.field(default_factory=_Meta)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


class _ListMeta(msgspec.Struct, gc=False):
    token: str | None = msgspec.field(default=None, name="continue")


class _RawPage(msgspec.Struct, gc=False):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


class _TypedPage(msgspec.Struct, gc=False):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[Pod] | None = None


_TYPED: Final = msgspec.json.Decoder(_TypedPage)
_RAW: Final = msgspec.json.Decoder(_RawPage)
_ONE: Final = msgspec.json.Decoder(Pod)


@dataclass(frozen=True, slots=True)
class PodPage:
    """One page of a list of pods. `token` leads to the next, empty on the last one.

    `unreadable` counts items that are no objects at all.
    """

    pods: tuple[Pod, ...]
    token: str = ""
    unreadable: int = 0


def decode_page(body: bytes) -> PodPage:
    """Decode one answer of `GET /api/v1/pods?limit=500`; ValueError if it is no JSON list of objects at all.

    A pod with a field of a wrong type does not cost the page: only that pod is read field by field.
    """
    try:
        page = _TYPED.decode(body)
    except msgspec.ValidationError:
        return _page_pod_by_pod(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("not a list of pods in JSON") from error
    return PodPage(tuple(page.items or ()), page.metadata.token or "")


def read_pod(value: object) -> Pod:
    """Read a pod from a parsed object, field by field; what has a wrong type counts as absent."""
    spec, status, meta = mapping(dig(value, "spec")), mapping(dig(value, "status")), mapping(dig(value, "metadata"))
    return Pod(
        _Meta(text(meta.get("name")), text(meta.get("namespace"))),
        _Spec(
            node_name=text(spec.get("nodeName")),
            containers=_containers(spec.get("containers")),
            init_containers=_containers(spec.get("initContainers")),
            overhead=_amounts(spec.get("overhead")),
            resources=_resources(spec.get("resources")),
        ),
        _Status(
            phase=text(status.get("phase")),
            conditions=[
                _Condition(text(each.get("type")), text(each.get("reason")))
                for each in records(status.get("conditions"))
            ],
            container_statuses=_states(status.get("containerStatuses")),
            init_container_statuses=_states(status.get("initContainerStatuses")),
        ),
    )


def holds_room(pod: Pod) -> bool:
    """Tell whether a pod takes room: one that is being deleted does, one that has finished does not."""
    return pod.status.phase not in FINISHED


def effective_requests(pod: Pod | Mapping[str, Any]) -> tuple[Vector, bool]:
    """Return what the scheduler subtracts for a pod, one of resource `pods` included.

    The second is False if an amount could not be read, so that the pod may take more than the vector says.
    """
    found, readable = sum_requests(pod if isinstance(pod, Pod) else read_pod(pod))
    return Vector(found), readable


def sum_requests(pod: Pod) -> tuple[dict[str, int], bool]:
    """Return the same as a plain dict: 100,000 pods pass here."""
    spec, states, readable = pod.spec, _live_states(pod), True
    total: dict[str, int] = {}
    for container in spec.containers or ():
        own, ok = _requests_of(container, states, pod)
        readable &= ok
        add_into(total, own)
    if spec.init_containers:
        sidecars: dict[str, int] = {}
        highest: dict[str, int] = {}
        for container in spec.init_containers:
            own, ok = _requests_of(container, states, pod)
            readable &= ok
            if container.restart_policy == _SIDECAR:
                add_into(sidecars, own)
                add_into(total, own)
                raise_to(highest, sidecars)
            else:
                add_into(own, sidecars)
                raise_to(highest, own)
        raise_to(total, highest)
    if spec.resources is not None:
        level, ok = read_vector(spec.resources.requests)
        readable &= ok
        total.update({key: count for key, count in level.items() if key in _POD_LEVEL or key.startswith(_HUGEPAGES)})
    if spec.overhead:
        overhead, ok = read_vector(spec.overhead)
        readable &= ok
        add_into(total, overhead)
    total["pods"] = 1
    return total, readable


def _requests_of(container: _Container, states: Mapping[str, _ContainerState], pod: Pod) -> tuple[dict[str, int], bool]:
    own, readable = read_vector(container.resources.requests) if container.resources is not None else ({}, True)
    state = states.get(container.name)
    if state is None or state.resources is None:
        return own, readable
    # While a resize is under way, the greatest of wish, promise and fact is taken; without one all three are equal.
    if any(each.type == "PodResizePending" and each.reason == "Infeasible" for each in pod.status.conditions or ()):
        own = {}
    for amounts in (state.resources.requests, state.allocated_resources):
        more, ok = read_vector(amounts)
        readable &= ok
        raise_to(own, more)
    return own, readable


def _live_states(pod: Pod) -> dict[str, _ContainerState]:
    status = pod.status
    found = {state.name: state for state in status.container_statuses or () if state.resources is not None}
    for state in status.init_container_statuses or ():
        if state.resources is not None:
            found[state.name] = state
    return found


def _page_pod_by_pod(body: bytes) -> PodPage:
    try:
        page = _RAW.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("not a list of pods in JSON") from error
    pods, unreadable = [], 0
    for raw in page.items or ():
        try:
            pods.append(_ONE.decode(raw))
            continue
        except msgspec.ValidationError:
            value = msgspec.json.decode(raw)
        if isinstance(value, dict):
            pods.append(read_pod(value))
        else:
            unreadable += 1
    return PodPage(tuple(pods), page.metadata.token or "", unreadable)


def _containers(value: object) -> list[_Container]:
    return [
        _Container(text(each.get("name")), _resources(each.get("resources")), text(each.get("restartPolicy")))
        for each in records(value)
    ]


def _states(value: object) -> list[_ContainerState]:
    return [
        _ContainerState(
            text(each.get("name")), _resources(each.get("resources")), _amounts(each.get("allocatedResources"))
        )
        for each in records(value)
    ]


def _resources(value: object) -> _Requests | None:
    if value is None:
        return None
    return _Requests(_amounts(mapping(value).get("requests")) if isinstance(value, dict) else {"": None})


def _amounts(value: object) -> _Amounts | None:
    """Keep a list of amounts as it is; one of a wrong type becomes one that nobody can read."""
    return value if isinstance(value, dict) or value is None else {"": None}
