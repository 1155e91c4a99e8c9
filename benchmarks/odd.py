"""Bodies that nobody should send, made from captured ones: the same for the same seed."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable
from typing import Any

from tests.acceptance.harness import DATA

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 10**400, "", " ", "\x00", "\ud800", "a\udfffb", "\u202e", "firing", "resolved",
    "4", "9" * 5_000, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999-23:59", "2026-13-45T99:99:99Z",
    "{{ 7 * 7 }}", "<!channel>", "*_~`", "x" * 20_000, [], {}, [[]], {"": ""}, [None], "plan", "🔥" * 300, "../../etc",
    "%00", "a\nb\rc",
)  # fmt: skip
"""What takes the place of something in a body."""
PATHS = ("stories", "deliveries", "audit", "explain", "stories/x", "deliveries/x/retry", "stories/x/ack", "nothing")
QUERIES = ("limit", "cursor", "state", "story", "destination", "kind", "since", "x")


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
        if self._chance.random() < 0.05:
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
        word = self._chance.choice
        odd = [str(one).encode("utf-8", "replace")[:60].hex() for one in VALUES]
        query = "&".join(
            f"{word(QUERIES)}=%{'%'.join(self._pairs(word(odd)))}" for _ in range(self._chance.randrange(3))
        )
        method = self._chance.choice(("GET", "GET", "GET", "POST", "DELETE"))
        content = (
            json.dumps(word([one for one in VALUES if not isinstance(one, str)])).encode() if method == "POST" else b""
        )
        lines = [f"{method} /api/v1/{word(PATHS)}?{query.replace('%&', '&').rstrip('%')} HTTP/1.1", "Host: localhost"]
        return "\r\n".join([*lines, f"Content-Length: {len(content)}", "\r\n"]).encode() + content

    @staticmethod
    def _pairs(digits: str) -> list[str]:
        return [digits[at : at + 2] for at in range(0, len(digits), 2)] or ["20"]

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
