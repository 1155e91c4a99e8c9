"""A must-gather as a cluster: the same interface over files, for `explain`, `diagnose` and clusters long gone."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from receiver.kube import ClusterError, NamespaceBook, Obj, PlanEvent, PlanIndex
from receiver.kube.archive import CURE, Places, Room, find, unpack
from receiver.kube.gathered import Gathered
from receiver.kube.kinds import is_name, kind_of, slim
from receiver.kube.namespaces import selector
from receiver.kube.rows import read_entries
from receiver.kube.selectors import field_test, label_test

PROBLEMS_MAX = 1_000
NESTED = 2  # archives in archives: a support case has the outer folder packed, and the gather's own inside


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be used. ``path`` is relative to the must-gather."""

    path: str
    text: str


class MustGather:
    """A must-gather: its tree, the folder around it, or an archive (.tar, .tar.gz, .zip). Read at the first call.

    What is not in it answers as if it did not exist, but a Plan that is missing is never called deleted: a gather
    holds only what its script asked for.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._index = PlanIndex()
        self._namespaces = NamespaceBook()
        self._problems: dict[Problem, None] = {}
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        self._gathered: Gathered | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def _called(self) -> str:
        """As messages name it; one without a name of its own is not named twice."""
        return "must-gather" if self._name == "must-gather" else f"must-gather {self._name}"

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Files that were skipped so far, with the reason; at most PROBLEMS_MAX."""
        return tuple(self._problems)

    async def find_plans(self, name: str) -> tuple[Obj, ...]:
        return await self.list("Plan", None, field_selector=f"metadata.name={name}") if is_name(name) else ()

    async def get_plan(self, namespace: str, name: str) -> Obj | None:
        return await self.get("Plan", namespace, name)

    async def get(self, kind: str, namespace: str | None, name: str) -> Obj | None:
        entry = kind_of(kind)
        if not is_name(name) or (entry.namespaced and not is_name(namespace)):
            return None
        found = await self.list(kind, namespace, field_selector=f"metadata.name={name}")
        return found[0] if found else None

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,  # of no use here: files have no pages
    ) -> tuple[Obj, ...]:
        entry = kind_of(kind)
        if namespace is not None and not is_name(namespace):
            return ()
        labels, fields = label_test(label_selector), field_test(field_selector)
        gathered = await self._open()
        objects = await asyncio.to_thread(gathered.objects, entry, namespace)
        return tuple(slim(obj, entry) for obj in objects if labels(obj) and fields(obj))

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail_lines: int = 400,
        limit_bytes: int = 262_144,
        since_seconds: int | None = None,  # of no use here: a file has no "now" to count from
    ) -> str:
        """Return the end of a log; without the container's own file, that of all the pod's containers in one."""
        what = f"{self._called} has no {'previous ' if previous else ''}log of {namespace}/{pod}"
        if not is_name(namespace) or not is_name(pod) or (container and not is_name(container)):
            raise ClusterError("not found", what)
        gathered = await self._open()
        text = await asyncio.to_thread(
            gathered.log, namespace, pod, container, previous=previous, tail_lines=tail_lines, limit_bytes=limit_bytes
        )
        if text is None:
            raise ClusterError("not found", what + (f" ({container})" if container else ""))
        return text

    async def holds(self, kind: str, namespace: str | None) -> bool:
        """Tell whether objects of a kind were gathered from a namespace at all: if not, an empty list says nothing."""
        gathered = await self._open()
        return await asyncio.to_thread(gathered.holds, kind_of(kind), namespace)

    def plans(self) -> PlanIndex:
        return self._index

    async def watch(self, on_event: Callable[[PlanEvent], None]) -> None:
        """Tell the Plans that were found, then "synced", then nothing for ever: files do not change."""
        try:
            await self.load()
        except ClusterError as error:
            self._index.problem = error.message
            on_event(PlanEvent("lost"))
        else:
            for row in self._index.rows():
                on_event(PlanEvent("added", row))
            on_event(PlanEvent("synced"))
        await asyncio.Event().wait()

    async def load(self) -> PlanIndex:
        """Read the Plans and fill the index, without a watch; ClusterError if this is no must-gather."""
        if not self._index.synced:
            listing = read_entries(await self.list("Plan", None), {})
            self._index.skipped = len(listing.unreadable) + listing.nameless
            for row in listing.rows:
                self._index.put(row)
            self._index.lists = 1
            self._index.synced = self._index.synced_once = True
        return self._index

    def namespaces(self) -> NamespaceBook:
        return self._namespaces

    async def follow_namespaces(self, prefix: str, on_change: Callable[[str], None]) -> None:
        """Tell the namespaces that were found, then nothing for ever: files do not change."""
        book = self._namespaces
        try:
            await self.load_namespaces(prefix)
        except ClusterError as error:
            book.namespaces.problem = book.configmaps.problem = error.message
        else:
            for row in book.rows():
                on_change(row.name)
        await asyncio.Event().wait()

    async def load_namespaces(self, prefix: str) -> NamespaceBook:
        """Read what there is of namespaces and fill the book, without a watch; ClusterError if it is no must-gather."""
        book = self._namespaces
        for obj in await self.list("Namespace", None):
            book.put_namespace(obj["metadata"]["name"], obj, prefix)
        for obj in await self.list("ConfigMap", None, label_selector=selector(prefix)):
            if isinstance(namespace := obj["metadata"].get("namespace"), str):
                book.put_configmap(namespace, obj["metadata"]["name"], obj, prefix)
        for state in (book.namespaces, book.configmaps):
            state.lists = 1
            state.synced = state.synced_once = True
        return book

    async def version(self) -> str:
        await self._open()
        return "must-gather"

    async def aclose(self) -> None:
        async with self._opening:
            unpacked, self._unpacked, self._gathered = self._unpacked, None, None
        if unpacked is not None:
            await asyncio.to_thread(unpacked.cleanup)

    async def _open(self) -> Gathered:
        async with self._opening:
            if self._gathered is None:
                try:
                    roots = await asyncio.to_thread(self._find)
                except OSError as error:
                    why = error.strerror or type(error).__name__
                    text = f"{self._called}: {self._path} cannot be read ({why}); {CURE}"
                    raise ClusterError("bad answer", text) from None
                self._gathered = Gathered(roots, self._report)
            return self._gathered

    def _find(self) -> tuple[Path, ...]:
        """Return the trees, unpacking what has to be unpacked; also archives inside an archive."""
        path = self._path
        if path.is_dir():
            places = find(path)
        elif path.is_file():
            places = Places((), (path,))
        else:
            raise ClusterError("not found", f"{self._called}: {path} does not exist; {CURE}")
        if not places.archives:
            if not places.roots:
                raise self._none(str(path))
            return places.roots
        unpacked = tempfile.TemporaryDirectory(prefix="must-gather-")
        try:
            roots = places.roots + self._unpack(places, Path(unpacked.name), alone=path.is_file())
            if not roots:
                raise self._none(str(path))
        except BaseException:
            unpacked.cleanup()
            raise
        self._unpacked = unpacked
        return roots

    def _unpack(self, places: Places, into: Path, *, alone: bool) -> tuple[Path, ...]:
        """Return the trees of all archives. One that cannot be used is told, and fatal only where nothing else is."""
        roots: list[Path] = []
        room, first = Room(), None
        left = [(archive, NESTED) for archive in places.archives]
        for number in itertools.count():
            if not left:
                break
            archive, deeper = left.pop(0)
            target = into / str(number)
            target.mkdir()
            try:
                unpack(archive, target, self._report, room)
                found = find(target)
            except ClusterError as error:
                if alone and not number:
                    raise self._named(error) from None
                first = first or error
                self._report(archive.name, error.message)
                continue
            roots += found.roots
            left += [(inner, deeper - 1) for inner in found.archives if deeper]
        if first is not None and not roots and not places.roots:
            raise self._named(first)
        return tuple(roots)

    def _none(self, what: str) -> ClusterError:
        why = "holds no must-gather (nothing in it is called namespaces or cluster-scoped-resources)"
        return self._named(ClusterError("bad answer", f"{what} {why}; {CURE}"))

    def _named(self, error: ClusterError) -> ClusterError:
        return ClusterError(error.reason, f"{self._called}: {error.message}")

    def _report(self, path: str, text: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems[Problem(path, text)] = None
