"""What a configuration is made of: every file is read here, so that one short hash says which configuration it is."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from receiver.config.files import templates_in
from receiver.config.positions import MAX_BYTES


class Sources:
    """Reads the files of one configuration."""

    unread: ClassVar[tuple[str, ...]] = ()
    """Keys that lead to other files, and are left out with a warning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.absolute().parent
        self._seen = hashlib.sha256()
        self._read: set[Path] = {path}

    def main(self) -> bytes:
        """Return the content of routes.yaml itself. Raises OSError."""
        content = _content(self.path)
        self._seen.update(content)
        return content

    def read(self, file: Path) -> bytes:
        """Return the content of another file, at most one byte more than may be. Raises OSError."""
        content = _content(file)
        if file not in self._read:
            self._read.add(file)
            name = file.relative_to(self.folder) if file.is_relative_to(self.folder) else file
            self._seen.update(f"\0{name}\0{len(content)}\0".encode("utf-8", "replace") + content)
        return content

    def templates(self, folder: Path) -> None:
        """Let the templates of a folder count, too; `..data` of Kubernetes would let them count twice."""
        for file in templates_in(folder):
            if not any(part.startswith(".") for part in file.relative_to(folder).parts):
                with suppress(OSError):  # said where it is used
                    self.read(file)

    @property
    def hash(self) -> str:
        """A short hash of all that was read so far."""
        return self._seen.hexdigest()[:12]

    def shown(self, file: Path) -> str:
        """Return a file's name as people wrote it: relative where the configuration's own is."""
        below = file.is_relative_to(self.folder)
        return str(self.path.parent / file.relative_to(self.folder) if below else file)


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)
