"""The configuration reference, made from the JSON schema: every key, its type, default and meaning. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

HEAD: Final = """# Configuration reference

Every key of `routes.yaml`, made from the code that reads it (`mtv-receiver config reference`). Names are Alertmanager's
wherever it has the key. A required key is bold. Editors complete and check as one types with the schema that
`mtv-receiver config schema` prints, named in the first line of the file:

```yaml
# yaml-language-server: $schema=routes.schema.json
```

A secret is never written down here: `x_file: PATH` names a file that holds it, `x_env: NAME` a variable. A duration is
such as `30s`, `1h30m` or `7d`, a size such as `2GiB`. Relative paths are relative to the file that names them. What a
file from `include:` may hold is in [teams](teams.md).
"""
_PREFIX: Final = "#/$defs/"
_DURATION: Final = "(ms|[smhdwy])"
_SUFFIXES: Final = ("Wire", "Settings")


def reference(schema: Schema) -> str:
    """Return the whole reference as Markdown."""
    definitions: Mapping[str, Schema] = schema["$defs"]
    parts = [HEAD, "## The file\n", _table(schema)]
    for name in _in_order(schema, definitions):
        one = definitions[name]
        said = str(one.get("description", "")).strip()
        parts += [f"## {title(name)}\n", *([f"{_escaped(said)}\n"] if said else []), _table(one)]
    return "\n".join(parts)


def title(name: str) -> str:
    """Return what a part is called in headings and links: `slack_entry` is `slack_configs[]`, `WebWire` is `web`."""
    if name.endswith("_entry"):
        return f"{name.removesuffix('_entry')}_configs[]"
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    words = "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
    return words.replace("t_l_s", "tls")


def _in_order(schema: Schema, definitions: Mapping[str, Schema]) -> list[str]:
    """Return the parts in the order in which a reader of the file comes to them."""
    found: dict[str, None] = {}

    def walk(part: Schema) -> None:
        for name in _names(part):
            if name in definitions and name not in found:
                found[name] = None
                walk(definitions[name])

    walk({key: one for key, one in schema.items() if key != "$defs"})
    return list(found)


def _names(item: Any) -> Iterator[str]:
    if isinstance(item, Mapping):
        if isinstance(ref := item.get("$ref"), str):
            yield ref.removeprefix(_PREFIX)
        for one in item.values():
            yield from _names(one)
    elif isinstance(item, list):
        for one in item:
            yield from _names(one)


def _table(part: Schema) -> str:
    properties: Mapping[str, Schema] = part.get("properties", {})
    if not properties:
        return ""
    required = set(part.get("required", ()))
    rows = ["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for key, one in properties.items():
        name = f"**`{key}`**" if key in required else f"`{key}`"
        rows.append(f"| {name} | {_type(one)} | {_default(one)} | {_escaped(str(one.get('description', '')))} |")
    return "\n".join(rows) + "\n"


def _type(one: Schema) -> str:
    if isinstance(ref := one.get("$ref"), str):
        name = title(ref.removeprefix(_PREFIX))
        return f"[{name}](#{_anchor(name)})"
    if "enum" in one:
        return " or ".join(f"`{value}`" for value in one["enum"])
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(_type(each) for each in one["anyOf"]))
    if "const" in one:
        return f"`{one['const']}`"
    kind = one.get("type")
    if kind == "array":
        items = one.get("items")
        return f"list of {_type(items)}" if isinstance(items, Mapping) and items else "list"
    if kind == "object":
        values = one.get("additionalProperties")
        return f"map of {_type(values)}" if isinstance(values, Mapping) and values else "map"
    if kind == "string":
        return "duration" if _DURATION in str(one.get("pattern", "")) else "text"
    if kind in ("integer", "number"):
        least, most = one.get("minimum"), one.get("maximum")
        bounds = f", {least} to {most}" if least is not None and most is not None else ""
        return f"number{bounds}"
    return {"boolean": "true or false", "null": "nothing"}.get(str(kind), "any")


def _default(one: Schema) -> str:
    if "default" not in one or one["default"] in (None, "", [], {}):
        return ""
    value = one["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`".replace("|", "\\|")


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _anchor(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum() or char in "-_")
