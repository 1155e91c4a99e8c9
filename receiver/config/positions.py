"""YAML with positions: a file becomes plain data in which every value and key knows its place.

Only what a configuration needs: mappings, lists, scalars, anchors (bounded) and `<<`. A scalar stays the text that was
written (`Scalar`), so that `1:30` is never 90 and `no` is never False; what it means is for the typed settings to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

import yaml

from receiver.config.settings import Scalar

Path = tuple[str | int, ...]
"""Where something is in the data: `("receivers", 0, "name")`."""

MAX_BYTES: Final = 1_048_576  # a generous size for a file that people write: about 20,000 lines
_MAX_NODES: Final = 200_000  # after aliases are followed: stops "billion laughs"
_MAX_DEPTH: Final = 64
_FAST: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_TAG: Final = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final = {_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")}
_INT = re.compile(r"[-+]?(?:0|[1-9]\d*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9]\d*)\.\d+(?:[eE][-+]?\d+)?")
_CURES: Final = (
    ("'\\t'", "indent with blanks, YAML knows no tabs"),
    ("mapping values are not allowed", "check the indentation, or put a value that holds ': ' in quotes"),
    ("could not find expected ':'", "add the missing colon, or check the indentation"),
    ("block end", "check the indentation: this line fits to none above it"),
    ("undefined alias", "define it before with &, or put a value that starts with * in quotes"),
    ("cannot start any token", "put the value in quotes"),
    ("end of stream", "close the quote or bracket that was opened"),
    ("single document", "keep one document in the file: remove the --- and what follows"),
    ("unknown escape", "write a backslash inside double quotes as two, or use single quotes"),
    ("expected alphabetic or numeric", "put a value that starts with * or & in quotes"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """1-based line and column."""

    line: int = 1
    column: int = 1


class YamlError(Exception):
    """The text cannot be read as YAML at all."""

    def __init__(self, place: Place, what: str, cure: str, path: Path = ()) -> None:
        super().__init__(what)
        self.place, self.what, self.cure, self.path = place, what, cure, path


@dataclass(frozen=True, slots=True)
class Origin:
    """Which file a document is, where it is not the one that everything began with."""

    file: str
    """As it stands before a problem."""
    name: str
    """As it stands in a reason: `routes.d/payments.yaml`."""
    folder: FilePath
    """What its relative paths are relative to."""


@dataclass(slots=True)
class Document:
    """The data of a file, and the place of everything in it."""

    value: Any = None
    duplicates: list[tuple[Path, Place, Place]] = field(default_factory=list)
    """Path, place, and first place of keys that stand twice in one mapping."""
    text: str = ""
    nodes: dict[Path, yaml.Node] = field(default_factory=dict)
    keys: dict[Path, yaml.Node] = field(default_factory=dict)
    origin: Origin | None = None

    def home(self, path: Path) -> tuple[Document, Path]:
        """Return the document of the file that something stands in, and its path there."""
        return self, path

    def place(self, path: Path, offset: int = 0) -> Place:
        """Return where a scalar starts, or the character `offset` of it where that can be told.

        Lists, mappings and empty values are better found by their key. A path that is not in the file stands for the
        nearest thing around it that is.
        """
        while path and path not in self.nodes:
            path, offset = path[:-1], 0
        node = self.nodes.get(path)
        if node is None:
            return Place()
        if path in self.keys and (
            not isinstance(node, yaml.ScalarNode) or node.start_mark.index == node.end_mark.index
        ):
            return _place(self.keys[path].start_mark)
        return _place(node.start_mark, self._shift(node, offset))

    def key_place(self, path: Path) -> Place:
        """Return where the key starts; for a list's element, or where there is none, the value's place."""
        node = self.keys.get(path)
        return self.place(path) if node is None else _place(node.start_mark)

    def written(self, path: Path) -> str:
        """Return a scalar's text; empty for anything else."""
        node = self.nodes.get(path)
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def line_behind(self, path: Path) -> str:
        """Return what stands behind the key in its line: to explain why a value is empty."""
        node = self.keys.get(path)
        return "" if node is None else self.text[node.end_mark.index :].split("\n", 1)[0]

    def _shift(self, node: yaml.Node, offset: int) -> int:
        """Return how many characters of source stand before character `offset` of a scalar."""
        written = self.text[node.start_mark.index : node.end_mark.index]
        if "\n" in written or not isinstance(node, yaml.ScalarNode):
            return 0
        if written == node.value:
            return offset
        if written[1:-1] == node.value:
            return offset + 1
        if node.style == "'":  # '' stands for one quote
            return offset + 1 + str(node.value)[:offset].count("'")
        return 0


def read_yaml(content: bytes, *, quick: bool = False) -> Document:
    """Read a file's content. Raises YamlError when it is not YAML, not text, too large or nested without end.

    `quick` is ten times as fast and less exact about where things end: for files that are known to be good.
    """
    if len(content) > MAX_BYTES:
        raise YamlError(Place(), f"larger than {MAX_BYTES} bytes", "split it, or keep generated parts out")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        raise YamlError(_end_of(before), "not UTF-8 text", "save the file as UTF-8") from None
    # PyYAML's own set of characters; found here because its error knows no line.
    if odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
        what = f"the control character U+{ord(odd.group()):04X}"
        raise YamlError(_end_of(text[: odd.start()]), what, "remove it")
    try:
        root = yaml.compose(text, Loader=_FAST if quick else yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.problem, error.context) if part)
        cure = next((cure for sign, cure in _CURES if sign in what), "correct the YAML here")
        raise YamlError(_place(mark) if mark else Place(), f"not YAML: {what}", cure) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else "not YAML"
        raise YamlError(Place(), what, "correct the YAML") from None
    document = Document(text=text)
    if root is not None:
        document.value = _Builder(document).build(root, (), ())
    return document


class _Builder:
    """Turns nodes into data, following aliases, within bounds."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = _MAX_NODES

    def build(self, node: yaml.Node, path: Path, around: tuple[int, ...]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise YamlError(_place(node.start_mark), "too much data behind aliases", "use fewer * aliases", path)
        if len(around) > _MAX_DEPTH:
            raise YamlError(_place(node.start_mark), "nested too deeply", f"use at most {_MAX_DEPTH} levels", path)
        if id(node) in around:
            raise YamlError(_place(node.start_mark), "an alias to what it stands in", "remove the * alias", path)
        self._document.nodes[path] = node
        inside = (*around, id(node))
        match node:
            case yaml.MappingNode(tag=tag) if tag == f"{_TAG}map":
                return self._mapping(node, path, inside)
            case yaml.SequenceNode(tag=tag) if tag == f"{_TAG}seq":
                return [self.build(item, (*path, at), inside) for at, item in enumerate(node.value)]
            case yaml.ScalarNode(tag=tag) if tag in _SCALAR_TAGS:
                return _scalar(node)
        raise YamlError(_place(node.start_mark), f"the tag {node.tag.removeprefix(_TAG)}", "remove the tag", path)

    def _mapping(self, node: yaml.MappingNode, path: Path, inside: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, Place] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(place, "a key that is a list or mapping", "write a plain word as key", path)
            if key_node.tag == f"{_TAG}merge":
                continue
            key = str(key_node.value)
            at = (*path, key)
            if key in first:
                self._document.duplicates.append((at, place, first[key]))
                continue
            first[key] = place
            self._document.keys[at] = key_node
            result[key] = self.build(value_node, at, inside)
        self._merge(node, path, inside, result)
        return result

    def _merge(self, node: yaml.MappingNode, path: Path, inside: tuple[int, ...], result: dict[str, Any]) -> None:
        """Add what `<<` names: keys that are there already win, and of several mappings the first."""
        sources: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                sources += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise YamlError(_place(source.start_mark), "<< of something that is no mapping", "remove it", path)
            if id(source) in inside:
                raise YamlError(_place(source.start_mark), "an alias to what it stands in", "remove the << line", path)
            for key_node, value_node in source.value:
                key = str(key_node.value)
                if key_node.tag != f"{_TAG}merge" and isinstance(key_node, yaml.ScalarNode) and key not in result:
                    self._document.keys[(*path, key)] = key_node
                    result[key] = self.build(value_node, (*path, key), (*inside, id(source)))
            self._merge(source, path, (*inside, id(source)), result)


def _scalar(node: yaml.ScalarNode) -> Scalar | None:
    text = str(node.value)
    if node.tag == f"{_TAG}null" and node.style is None:
        return None
    value: Any = text
    if node.style is None:  # YAML 1.2's core types: `no`, `1:30` and 010 mean text
        if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            value = text.lower() == "true"
        elif _INT.fullmatch(text):
            value = int(text) if len(text) < 20 else text
        elif _FLOAT.fullmatch(text):
            value = float(text)
    return Scalar(text, value)


def _place(mark: Any, shift: int = 0) -> Place:
    return Place(mark.line + 1, mark.column + 1 + shift)


def _end_of(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)
