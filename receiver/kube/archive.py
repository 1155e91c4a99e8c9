"""Finding and unpacking a must-gather: a tree, the folder around it, or an archive. Nothing leaves its place.

Nothing in an archive is trusted: names, sizes and numbers are bounded, links are not made, and of all files only those
that a must-gather's reader knows are written, into a folder of our own.
"""

from __future__ import annotations

import errno
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from receiver.kube import ClusterError

CURE = "give the folder or the .tar.gz that `oc adm must-gather` left"
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
ROOT_MARKS = ("namespaces", "cluster-scoped-resources")
ROOT_DEPTH = 6  # folders between what a user hands over and the tree inside
MAX_FOLDERS = 5_000  # looked into for trees: more is somebody's home folder
MAX_ARCHIVES = 20
MAX_MEMBERS = 200_000
MAX_DEPTH = 32  # folders of one file
MAX_MEMBER = 1024**3  # bytes of one file
MAX_UNPACKED = 4 * 1024**3  # bytes of all files; a large cluster's full gather has about 1 GB
MAX_PASSED = 16 * 1024**3  # bytes of what is skipped, too: audit logs are large
WANTED = (".yaml", ".yml", ".json", ".log", ".yaml.gz", ".yml.gz", ".json.gz", ".log.gz")

Report = Callable[[str, str], None]
"""Called with a path and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Places:
    """What a folder holds: trees of gathers, several if several images gathered, and archives not unpacked yet."""

    roots: tuple[Path, ...]
    archives: tuple[Path, ...]


@dataclass(slots=True)
class Room:
    """What may still be unpacked, of all archives together."""

    files: int = MAX_MEMBERS
    size: int = MAX_UNPACKED
    passed: int = MAX_PASSED


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry of an archive of any form."""

    name: str
    folder: bool
    regular: bool
    size: int
    open: Callable[[], IO[bytes] | None]


def find(folder: Path) -> Places:
    """Return the trees and archives below a folder; ClusterError where it is far too large for a must-gather."""
    if folder.name in ROOT_MARKS:
        return Places((folder.parent,), ())  # one step too deep
    roots: list[Path] = []
    archives: list[Path] = []
    level, seen = [folder], 0
    for _ in range(ROOT_DEPTH):
        deeper: list[Path] = []
        for place in level:
            seen += 1
            if seen > MAX_FOLDERS:
                raise ClusterError("bad answer", f"{folder} holds more than {MAX_FOLDERS:,} folders; {CURE}")
            if any((place / mark).is_dir() for mark in ROOT_MARKS):
                roots.append(place)
                continue
            for entry in sorted(place.iterdir()):
                if entry.is_symlink():
                    continue
                if entry.is_dir():
                    deeper.append(entry)
                elif entry.name.endswith(ARCHIVES) and entry.is_file():
                    archives.append(entry)
        level = deeper
    # An archive beside its own unpacked tree would only say everything twice.
    packed = [one for one in archives if not any(root.is_relative_to(one.parent) for root in roots)]
    if len(packed) > MAX_ARCHIVES:
        raise ClusterError("bad answer", f"{folder} holds {len(packed)} archives; name the one of the must-gather")
    return Places(tuple(roots), tuple(packed))


def unpack(archive: Path, into: Path, report: Report, room: Room) -> None:
    """Unpack the files we can read; ClusterError if it is no archive, too large, damaged, or reaches outside itself."""
    try:
        with _opened(archive) as members:
            for member in members:
                _take(member, archive, into, report, room)
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.ReadError) as error:
        raise ClusterError("bad answer", _damaged(archive, error)) from None
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            why += " in the temporary folder: set TMPDIR, or unpack it yourself"
        raise ClusterError("bad answer", f"{archive.name} cannot be unpacked ({why}); {CURE}") from None
    except (tarfile.TarError, ValueError, RuntimeError, NotImplementedError) as error:
        # A password, a method of compression that is not known here, numbers that are none.
        raise ClusterError(
            "bad answer", f"{archive.name} cannot be unpacked ({error}); unpack it yourself and give the folder"
        ) from None


def _damaged(archive: Path, error: Exception) -> str:
    if isinstance(error, tarfile.ReadError) and not str(error).startswith("unexpected end"):
        return f"{archive.name} is no archive; {CURE}"
    return f"{archive.name} is cut off or damaged ({type(error).__name__}); copy it again, or give the unpacked folder"


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    with archive.open("rb") as file:
        magic = file.read(4)
    if magic in (b"PK\x03\x04", b"PK\x05\x06"):
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(packed)
    else:
        with tarfile.open(archive, mode="r:*") as tar:
            yield _tar_members(tar)


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    for one in tar:
        yield _Member(one.name, one.isdir(), one.isreg(), one.size, partial(tar.extractfile, one))


def _zip_members(packed: zipfile.ZipFile) -> Iterator[_Member]:
    for one in packed.infolist():
        link = (one.external_attr >> 16) & 0o170000 == 0o120000
        name = one.filename.replace("\\", "/")
        yield _Member(name, one.is_dir(), not link, one.file_size, partial(packed.open, one))


def _take(member: _Member, archive: Path, into: Path, report: Report, room: Room) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ClusterError(
            "bad answer", f"{archive.name} is refused: {member.name[:200]!r} reaches outside the archive; {CURE}"
        )
    room.files -= 1
    room.passed -= member.size
    if room.files < 0 or room.passed < 0:
        raise _too_large(archive)
    if member.folder or not _wanted(path):
        return
    if not member.regular:
        report(member.name, "link or device, not unpacked")
    elif member.size > MAX_MEMBER:
        report(member.name, f"larger than {MAX_MEMBER} B, not unpacked")
    elif len(path.parts) > MAX_DEPTH:
        report(member.name[:200], f"deeper than {MAX_DEPTH} folders, not unpacked")
    else:
        _write(member, archive, into.joinpath(*path.parts), report, room)


def _wanted(path: PurePosixPath) -> bool:
    if path.name.endswith(ARCHIVES):
        return True
    return path.name.endswith(WANTED) and any(mark in path.parts[:-1] for mark in ROOT_MARKS)


def _write(member: _Member, archive: Path, target: Path, report: Report, room: Room) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = target.open("wb")
    except (OSError, ValueError) as error:  # a name that is too long, or a folder and a file of one name
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        report(member.name[:200], f"cannot be unpacked: {os.strerror(getattr(error, 'errno', 0) or errno.EINVAL)}")
        return
    with copy:
        source = member.open()
        if source is None:
            return
        with source:
            while block := source.read(1 << 20):  # what is really there counts, not what the archive says
                room.size -= len(block)
                if room.size < 0:
                    raise _too_large(archive)
                copy.write(block)


def _too_large(archive: Path) -> ClusterError:
    return ClusterError(
        "bad answer",
        f"{archive.name} is refused: more than {MAX_MEMBERS:,} files or {MAX_UNPACKED >> 30} GiB; "
        "unpack it yourself and give the folder",
    )
