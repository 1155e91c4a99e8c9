"""Reads one file of a must-gather as plain data, whatever is in it: YAML, JSON, an error text, HTML, or rubbish."""

from __future__ import annotations

import json
import re
import stat
import zlib
from pathlib import Path
from typing import Any

import yaml

MAX_FILE = 64 * 1024 * 1024  # bytes of one file, unpacked
MAX_DEPTH = 100  # of an object; custom resources have about 20
# What `oc` and its client write among the objects: the gather's scripts send both to one file.
_SAID = re.compile(r"(?:Error from server|[Ee]rror: |Warning: |Unable to |[WEI]\d{4} \d\d:\d\d:\d\d).*\n?")
_PLAIN = (str, int, float, bool, type(None))

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the C loader, where PyYAML was built with it
    """YAML as Kubernetes means it: a time is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


class UnreadableError(Exception):
    """The file cannot be used; the text says why, in one line."""


def read_documents(path: Path) -> tuple[list[Any], str]:
    """Return the documents of a file as JSON's types, and how it begins. UnreadableError if there are none."""
    text = read_text(path)
    try:
        documents = _parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        rest = "".join(line for line in text.splitlines(keepends=True) if not _SAID.match(line))
        try:
            documents = _parse(rest) if rest.strip() and rest != text else []
        except (yaml.YAMLError, ValueError, RecursionError):
            documents = []
        if not documents:
            raise UnreadableError(f"no YAML: {line(str(error))}") from None
    return documents, line(text)


def read_text(path: Path) -> str:
    """Return the text of a file, unpacked if it is gzipped."""
    try:
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode):
            raise UnreadableError("link, not read")
        if not stat.S_ISREG(state.st_mode):
            raise UnreadableError("no file, not read")  # a pipe would never end
        if state.st_size > MAX_FILE:
            raise UnreadableError(f"larger than {MAX_FILE} B, not read")
        raw = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    if path.name.endswith(".gz"):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            raw = unpacker.decompress(raw, MAX_FILE)
        except zlib.error:
            raise UnreadableError("cannot be read: no gzip") from None
        if unpacker.unconsumed_tail:
            raise UnreadableError(f"larger than {MAX_FILE} B, not read")
    return raw.decode("utf-8", errors="replace").removeprefix("\ufeff")


def line(text: str) -> str:
    """Return the beginning of a text as one line."""
    shown = "".join(char if char.isprintable() else " " for char in text[:400])
    return " ".join(shown.split())[:120]


def _parse(text: str) -> list[Any]:
    if text.lstrip()[:1] == "{":  # JSON with tabs is no YAML, and is read ten times faster
        try:
            return _plain([json.loads(text)])
        except ValueError:
            pass  # YAML's own form with braces
    _check_shape(text)
    return _plain(list(yaml.load_all(text, Loader=_Loader)))


def _check_shape(text: str) -> None:
    """Refuse YAML that no API server prints and that could hurt.

    Aliases grow without end, and deep nesting ends the process: the C library that makes the objects has no limit.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it uses YAML aliases, which Kubernetes never does")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(documents: list[Any]) -> list[Any]:
    """Refuse types that JSON has not."""
    left: list[Any] = list(documents)
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise ValueError("a key is no text")
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif not isinstance(one, _PLAIN):
            raise ValueError(f"a value is of type {type(one).__name__}")
    return documents
