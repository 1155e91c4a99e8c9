"""A must-gather as a cluster: the same interface over files, for `explain`, `diagnose` and clusters long gone."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from receiver.kube import ClusterError, Obj, PlanEvent, PlanIndex
from receiver.kube.archive import find_archives, find_roots, unpack
from receiver.kube.gathered import Gathered
from receiver.kube.kinds import is_name, kind_of, slim
from receiver.kube.rows import read_entries
from receiver.kube.selectors import field_test, label_test

PROBLEMS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be used. ``path`` is relative to the must-gather."""

    path: str
    text: str


class MustGather:
    """A must-gather: its tree, the folder around it, or an archive (.tar.gz). Read at the first call.

    What is not in it answers as if it did not exist, but a Plan that is missing is never called deleted: a gather
    holds only what its script asked for.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._index = PlanIndex()
        self._problems: dict[Problem, None] = {}
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        self._gathered: Gathered | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._name

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
        what = f"must-gather {self._name} has no {'previous ' if previous else ''}log of {namespace}/{pod}"
        if not is_name(namespace) or not is_name(pod) or (container and not is_name(container)):
            raise ClusterError("not found", what)
        gathered = await self._open()

        def read() -> str | None:
            path = gathered.log_file(namespace, pod, container, previous=previous)
            if path is None:
                return None
            return gathered.read_log(path, tail_lines=tail_lines, limit_bytes=limit_bytes)

        text = await asyncio.to_thread(read)
        if text is None:
            raise ClusterError("not found", what + (f" ({container})" if container else ""))
        return text

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
                    text = f"must-gather {self._name}: {self._path} cannot be read ({error.strerror})"
                    raise ClusterError("bad answer", text) from None
                self._gathered = Gathered(roots, self._report)
            return self._gathered

    def _find(self) -> tuple[Path, ...]:
        """Return the trees, unpacking what has to be unpacked; also archives inside an unpacked archive's folder."""
        path = self._path
        if path.is_dir():
            if roots := find_roots(path):
                return roots
            archives = find_archives(path)
        elif path.is_file():
            archives = (path,)
        else:
            raise ClusterError("not found", f"must-gather {self._name}: {path} does not exist")
        if not archives:
            raise ClusterError("bad answer", f"must-gather {self._name}: {path} holds no must-gather")
        unpacked = tempfile.TemporaryDirectory(prefix="must-gather-")
        try:
            roots = self._unpack(archives, Path(unpacked.name))
        except BaseException:
            unpacked.cleanup()
            raise
        self._unpacked = unpacked
        return roots

    def _unpack(self, archives: tuple[Path, ...], into: Path) -> tuple[Path, ...]:
        roots: list[Path] = []
        for number, archive in enumerate(archives):
            target = into / str(number)
            target.mkdir()
            unpack(archive, target, self._report)
            found = find_roots(target)
            # An archive of the outer folder has the gather's own archive inside.
            for inner_number, inner in enumerate(() if found else find_archives(target)):
                inner_target = into / f"{number}-{inner_number}"
                inner_target.mkdir()
                unpack(inner, inner_target, self._report)
                found += find_roots(inner_target)
            roots.extend(found)
        if not roots:
            names = ", ".join(archive.name for archive in archives)
            raise ClusterError("bad answer", f"must-gather {self._name}: {names} holds no must-gather")
        return tuple(roots)

    def _report(self, path: str, text: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems[Problem(path, text)] = None
