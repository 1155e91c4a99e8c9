"""Bodies that nobody should send, made from captured ones: the same for the same seed."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from receiver.web.openapi_operations import OPERATIONS
from receiver.web.openapi_schemas import SCHEMAS
from tests.acceptance.harness import DATA

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 10**400, "", " ", "\x00", "\ud800", "a\udfffb", "\u202e", "firing", "resolved",
    "4", "9" * 5_000, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999-23:59", "2026-13-45T99:99:99Z",
    "{{ 7 * 7 }}", "<!channel>", "*_~`", "x" * 20_000, [], {}, [[]], {"": ""}, [None], "plan", "🔥" * 300, "../../etc",
    "%00", "a\nb\rc",
)  # fmt: skip
"""What takes the place of something in a body."""
ADDRESSES = sorted((path, method) for path, method in OPERATIONS if path.startswith("/api/"))
HELD = ("x", "01JXXXXXXXXXXXXXXXXXXXXXXX", "%00", "%ED%A0%80", "a%2Fb", "retry", ".", "🔥", "x" * 3_000)
"""What takes the place of an id in a path."""
LONGEST = 6_000
"""Characters of one parameter: a request's head may hold 64 KiB."""


def captured() -> list[dict[str, Any]]:
    """Return the webhooks that real Alertmanagers sent."""
    found: list[dict[str, Any]] = []
    for path in sorted((DATA / "alertmanager").glob("*.json")):
        document = json.loads(path.read_text())
        if isinstance(document, dict) and isinstance(body := document.get("request", {}).get("body"), dict):
            found.append(body)
    return found


class Odd:
    """An endless supply of whole HTTP requests."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._captured = captured()
        self._ways: tuple[tuple[int, Callable[[], tuple[bytes, list[str]]]], ...] = (
            (60, self._changed),
            (15, self._broken),
            (5, self._nested),
            (8, self._encoded),
            (6, self._zipped),
            (6, self._other_json),
        )

    def request(self) -> bytes:
        """Return a request: head and body."""
        if self._chance.random() < 0.2:
            return self._api()
        (way,) = self._chance.choices([one for _, one in self._ways], [weight for weight, _ in self._ways])
        content, headers = way()
        path = self._chance.choice(("/webhook", "/webhook", "/webhook/main", "/webhook/%00%ff", "/webhook/"))
        head = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
        if self._chance.random() < 0.2:
            size = self._chance.randrange(1, 5_000)
            pieces = [content[at : at + size] for at in range(0, len(content), size)]
            chunked = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
            return "\r\n".join([*head, "Transfer-Encoding: chunked", "\r\n"]).encode() + chunked
        return "\r\n".join([*head, f"Content-Length: {len(content)}", "\r\n"]).encode() + content

    def _api(self) -> bytes:
        word, chance = self._chance.choice, self._chance.random
        path, method = word(ADDRESSES)
        operation = OPERATIONS[path, method]
        names = [str(one["name"]) for one in operation.query] or ["x"]
        query = "&".join(f"{name}={self._parameter(name)}" for name in self._chance.choices(names, k=word((0, 1, 2))))
        content, headers = b"", []
        if operation.body is not None:
            form = next(iter(operation.body["content"].values()))["schema"].get("$ref", "").rpartition("/")[2]
            keys = [*SCHEMAS.get(form, {}).get("properties", ("alerts", "labels", "version", "status")), "x"]
            document = {word(keys): word(VALUES) for _ in range(word((0, 1, 1, 2)))} if chance() < 0.9 else word(VALUES)
            content = json.dumps(document).encode()
            headers = ["Content-Type: application/json"] if chance() < 0.9 else []
        if chance() < 0.1:
            method = word(("GET", "POST", "DELETE", "PUT", "OPTIONS"))
        held = quote(word(HELD), safe="%./")
        address = f"{path.replace('{id}', held)}{'?' if query else ''}{query}"
        lines = [f"{method} {address} HTTP/1.1", "Host: localhost", *headers]
        return "\r\n".join([*lines, f"Content-Length: {len(content)}", "\r\n"]).encode() + content

    def _parameter(self, name: str) -> str:
        value = self._chance.choice(VALUES)
        if name == "cursor" and self._chance.random() < 0.7:
            pair = json.dumps([self._chance.choice(VALUES), value] if self._chance.random() < 0.7 else value)
            return base64.urlsafe_b64encode(pair[:LONGEST].encode()).decode()
        return quote(str(value)[:LONGEST].encode("utf-8", "surrogatepass"))

    def _body(self) -> dict[str, Any]:
        return copy.deepcopy(self._chance.choice(self._captured))

    def _changed(self) -> tuple[bytes, list[str]]:
        body = self._body()
        for _ in range(self._chance.randrange(1, 4)):
            self._change(body)
        return json.dumps(body, ensure_ascii=True).encode(), []

    def _change(self, body: Any) -> None:
        at = body
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                return
            key = self._chance.choice(keys)
            if isinstance(at[key], dict | list) and at[key] and self._chance.random() < 0.8:
                at = at[key]
                continue
            match self._chance.randrange(4):
                case 0:
                    del at[key]
                case 1 if isinstance(at, dict):
                    at[str(self._chance.choice(VALUES))[:100]] = at.pop(key)
                case _:
                    at[key] = self._chance.choice(VALUES)
            return

    def _broken(self) -> tuple[bytes, list[str]]:
        content = bytearray(json.dumps(self._body()).encode())
        for _ in range(self._chance.randrange(1, 5)):
            at = self._chance.randrange(len(content))
            match self._chance.randrange(3):
                case 0:
                    content[at] = self._chance.randrange(256)
                case 1:
                    del content[at : at + self._chance.randrange(1, 40)]
                case _:
                    content[at:at] = self._chance.randbytes(3)
            if not content:
                break
        return bytes(content), []

    def _nested(self) -> tuple[bytes, list[str]]:
        depth = self._chance.choice((10, 500, 2_000, 100_000))
        deep = b"[" * depth + b"]" * (depth if self._chance.random() < 0.5 else 0)
        inside = b'{"version": "4", "alerts": [{"status": "firing", "labels": {"a": "b", "c": ' + deep + b"}}]}"
        return self._chance.choice((deep, b'{"a":' * depth, inside)), []

    def _encoded(self) -> tuple[bytes, list[str]]:
        text = json.dumps(self._body(), ensure_ascii=False)
        coding = self._chance.choice(("utf-16", "utf-32", "latin-1", "utf-8-sig", "cp1252", "utf-7"))
        return text.encode(coding, "replace"), [f"Content-Type: application/json; charset={coding}"]

    def _zipped(self) -> tuple[bytes, list[str]]:
        content = gzip.compress(json.dumps(self._body()).encode(), 1)
        return content, ["Content-Encoding: gzip"] if self._chance.random() < 0.7 else []

    def _other_json(self) -> tuple[bytes, list[str]]:
        value = self._chance.choice(VALUES)
        whole = {
            "version": "4",
            "alerts": self._chance.choice((value, [value], [{"status": "firing", "labels": value}])),
        }
        return json.dumps(self._chance.choice((value, whole))).encode(), []
