"""What only an API server can give: lists too large to hold, subresources, services behind its proxy.

Files of a must-gather cannot: they lack most namespaces, so a sum over them would be too small.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from receiver.kube import Obj


@runtime_checkable
class Streams(Protocol):
    """A cluster behind an API server. Every call may raise ClusterError; none changes anything."""

    async def raw_page(self, kind: str, *, token: str = "", field_selector: str = "", limit: int = 500) -> bytes:
        """Return one page of the objects of a kind in all namespaces, as JSON that nobody has parsed yet.

        `token` is the `metadata.continue` of the page before. Raises ``gone`` where it has become too old (410): the
        list then begins anew.
        """

    async def expand_spec(self, namespace: str, name: str) -> Obj | None:
        """Return a VirtualMachine whose instancetype and preference are worked into its template, None without one."""

    async def proxied(self, namespace: str, service: str, path: str) -> Obj:
        """Return a JSON document of a service, such as ``https:forklift-inventory:8443``, asked for by GET.

        The API server passes no credentials on: a service that wants some of its own refuses (``unauthorized``).
        """
