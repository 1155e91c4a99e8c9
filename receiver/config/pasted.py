"""A configuration that somebody pastes to try it: read as routes.yaml is, and nothing of this machine with it.

It is not trusted. Whatever it names, secrets, certificates, templates, other files, is not looked at: not even whether
it is there.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Sequence
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any, Final, NoReturn

from receiver.config.load import check_sources
from receiver.config.model import Config
from receiver.config.problems import Problem
from receiver.config.sources import Sources

if TYPE_CHECKING:
    from receiver.destinations import Kind

NAME: Final = "pasted.yaml"
"""How it is called before its problems and in reasons."""


class Nowhere(PosixPath):
    """A path that is never followed. Paths made of it are of the same kind, absolute ones as well."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "nothing is read for a pasted configuration")

    stat = lstat = open = read_text = read_bytes = resolve = readlink = samefile = _refuse

    def _believed(self, *_: Any, **__: Any) -> bool:
        """Say that it is there: else a warning would tell what this machine has."""
        return True

    exists = is_file = is_dir = _believed

    def _nothing(self, *_: Any, **__: Any) -> Generator[Any, None, None]:
        yield from ()

    iterdir = glob = rglob = _nothing


class _Pasted(Sources):
    unread = ("include", "causes_files", "templates")

    def __init__(self, content: bytes) -> None:
        super().__init__(Nowhere(NAME))
        self._content = content

    def main(self) -> bytes:
        self._seen.update(self._content)
        return self._content

    def read(self, file: Path) -> bytes:
        raise PermissionError(errno.EACCES, "nothing is read for a pasted configuration")

    def templates(self, folder: Path) -> None:
        """Leave the folder alone."""


def check_pasted(content: bytes, kinds: Sequence[Kind]) -> tuple[Config | None, tuple[Problem, ...]]:
    """Return the configuration, None where it cannot be used, and all problems and warnings in their order."""
    return check_sources(_Pasted(content), kinds)
