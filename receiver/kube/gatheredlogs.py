"""The logs of a must-gather: which file is a container's, and the end of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from receiver.kube.archive import Report
from receiver.kube.documents import line

# What the gather's scripts leave in a log file when they got no log.
NO_LOG = ("unable to retrieve container logs", "Error from server", "error: ", "Error: ", "<!DOCTYPE", "<html", "<HTML")
NO_LOG_MAX = 2_048  # bytes; a real log may begin with such words, but is longer
MAX_UNPACKED_LOG = 512 * 1024 * 1024  # bytes of a gzipped log that are gone through
_BLOCK = 1 << 20


def log_files(roots: tuple[Path, ...], namespace: str, pod: str, container: str, *, previous: bool) -> Iterator[Path]:
    """Yield the files that may hold a log: the container's own, then the pod's with all containers in one.

    `oc adm inspect` writes `….insecure.log` where the kubelet's certificate was not accepted.
    """
    stem = "previous" if previous else "current"
    names = tuple(f"{stem}{form}" for form in (".log", ".log.gz", ".insecure.log", ".insecure.log.gz"))
    for root in roots:
        space = root / "namespaces" / namespace
        folder = space / "pods" / pod
        own = [folder / container / container / "logs", folder / container / "logs"] if container else []
        if not container:
            own = [*sorted(folder.glob("*/*/logs")), *sorted(folder.glob("*/logs")), folder / "logs"]
        for place in (*own, space / "logs" / pod):
            for name in names:
                path = place / name
                if path.is_file() and not path.is_symlink() and inside(path, root):
                    yield path


def logged_pods(roots: tuple[Path, ...], namespace: str | None) -> Iterator[tuple[str, str]]:
    """Yield (namespace, pod) of every folder of logs."""
    for root in roots:
        for folder in ("logs", "pods"):
            for path in sorted(root.glob(f"namespaces/{namespace or '*'}/{folder}/*")):
                if path.is_dir() and not path.is_symlink() and inside(path, root):
                    yield path.parent.parent.name, path.name


def read_log(path: Path, short: str, report: Report, *, tail_lines: int, limit_bytes: int) -> str | None:
    """Return the end of a log file; None where it holds no log, which is reported under the name `short`."""
    try:
        size, body = _unpacked_end(path, limit_bytes) if path.name.endswith(".gz") else _end(path, limit_bytes)
    except (OSError, zlib.error) as error:
        report(short, f"cannot be read: {getattr(error, 'strerror', None) or 'no gzip'}")
        return None
    text = body.decode("utf-8", errors="replace")
    if not text.strip() or (size <= NO_LOG_MAX and text.lstrip().startswith(NO_LOG)):
        report(short, f"holds no log: {line(text) or 'it is empty'}")
        return None
    return "".join(text.splitlines(keepends=True)[-tail_lines:]) if tail_lines > 0 else ""


def inside(path: Path, root: Path) -> bool:
    """Tell whether no link on the way leads out of the tree."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


def _end(path: Path, limit: int) -> tuple[int, bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - limit))
        return size, file.read(limit)


def _unpacked_end(path: Path, limit: int) -> tuple[int, bytes]:
    """Return size and end of a gzipped log; of one that is cut off or too large, as far as it can be read."""
    unpacker = zlib.decompressobj(wbits=31)
    size, kept = 0, b""
    with path.open("rb") as file:
        packed = file.read(_BLOCK)
        while packed and size < MAX_UNPACKED_LOG:
            block = unpacker.decompress(packed, _BLOCK)
            size += len(block)
            kept = (kept + block)[-limit:]
            packed = unpacker.unconsumed_tail or file.read(_BLOCK)
    return size, kept
