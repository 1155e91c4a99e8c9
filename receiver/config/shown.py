"""A configuration as people are shown it: what is in force, defaults filled in, as YAML that holds no secret.

A secret is where it is read, which the types say: its content is not here. What people write where no secret belongs
may hold one all the same: a password in an address, a token in a header. Those are hidden, and so are the patterns by
which secrets are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel

from receiver.config.model import TLS, Auth, Config, DestinationConfig, HttpConfig, Receiver, Secret
from receiver.config.storage import Kept
from receiver.routing.intervals import Span, TimeInterval, TimeRange
from receiver.routing.matchers import Glob, Matcher

HIDDEN: Final = "‹hidden›"
MOST_CHARACTERS: Final = 400_000
_ELSEWHERE: Final = frozenset({"path", "position", "hash", "files", "included", "globs", "identity", "causes", "kind"})
"""Fields that nobody writes, or that are said beside it."""
_NAMES: Final[Mapping[str, str]] = {
    "continue_": "continue", "global_": "global", "from_": "from", "http": "http_config", "tls": "tls_config",
    "templates_dir": "templates", "proxy": "proxy_header",
}  # fmt: skip
_USUAL: Final = (HttpConfig(), TLS(), Auth(), Kept())
"""What most have: left out."""


def effective(config: Config, hide: Callable[[str], str]) -> str:
    """Return a configuration as YAML; `hide` takes what looks like a secret out of a text."""
    found = _Shown(hide).of(config)
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "\n# … cut here\n"


def address(url: str, hide: Callable[[str], str]) -> str:
    """Return an address without what may let somebody in: user, password and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    place = f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    query = "&".join(f"{one.partition('=')[0]}={HIDDEN}" for one in parts.query.split("&")) if parts.query else ""
    fragment = HIDDEN if "=" in parts.fragment else parts.fragment
    return hide(parts._replace(netloc=place, query=query, fragment=fragment).geturl())


class _Shown:
    def __init__(self, hide: Callable[[str], str]) -> None:
        self._hide = hide

    def of(self, value: Any) -> Any:
        """Return plain data, without what is not set."""
        match value:
            case None | bool() | int() | float():
                return value
            case Secret():
                return f"<read from {value.place}>"
            case Enum():
                return str(value.value)
            case str():
                return self._text(str(value))
            case Path():
                return str(value)
            case Matcher() | Glob():
                return self._text(str(value))
            case TimeRange():
                return f"{_time(value.start)}-{_time(value.end)}"
            case Span():
                return f"{value.first}" if value.first == value.last else f"{value.first}:{value.last}"
            case TimeInterval():
                return self._fields(value) | {"location": str(value.location or "Local")}
            case Receiver():
                return self._receiver(value)
            case Config():
                return self._config(value)
            case BaseModel():
                return self._model(value)
            case Mapping():
                return {str(key): self.of(one) for key, one in value.items()}
            case frozenset():
                return sorted(str(self.of(one)) for one in value)
            case list() | tuple():
                return [self.of(one) for one in value]
            case _ if is_dataclass(value):
                return self._fields(value)
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        return address(text, self._hide) if "://" in text and not text.split("://")[0].count(" ") else self._hide(text)

    def _config(self, config: Config) -> dict[str, Any]:
        found = self._fields(config)
        found["receivers"] = [self.of(one) for one in config.receivers.values()]
        if number := len(config.redaction_patterns):
            found["redaction_patterns"] = f"{HIDDEN} ({number} pattern{'s' * (number != 1)})"
        if config.causes:
            found["causes"] = [one.id for one in config.causes]
        return found

    def _receiver(self, receiver: Receiver) -> dict[str, Any]:
        found: dict[str, Any] = {"name": receiver.name}
        if receiver.fallback:
            found["fallback"] = receiver.fallback
        for one in receiver.destinations:
            found.setdefault(f"{one.kind}_configs", []).append(self._destination(one))
        return found

    def _destination(self, one: DestinationConfig) -> dict[str, Any]:
        own = self._fields(one, without=("receiver", "settings", "manners"))
        return {**self.of(one.settings), **own, **self._fields(one.manners)}

    def _model(self, model: BaseModel) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in type(model).model_fields:
            value = getattr(model, name)
            if name == "headers" and isinstance(value, Mapping):  # people put tokens there, too
                value = dict.fromkeys(value, HIDDEN)
            self._put(found, name, value)
        return found

    def _fields(self, value: Any, without: Iterable[str] = ()) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for one in fields(value):
            if one.name not in _ELSEWHERE and one.name not in without and not one.name.startswith("_"):
                self._put(found, one.name, getattr(value, one.name))
        return found

    def _put(self, found: dict[str, Any], name: str, value: Any) -> None:
        if name.endswith("_s") and isinstance(value, int | float):
            found[name[:-2]] = _seconds(float(value))
            return
        shown = self.of(value) if value not in _USUAL else None
        if shown not in (None, "", [], {}):
            found[_NAMES.get(name, name)] = shown


def _seconds(seconds: float) -> str:
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"), (1.0, "s")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0s"


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
