"""The faults that a destination can show, as values.

A fault says two things that a client cannot tell apart: whether the request was carried out, and what came back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CarriedOut = Literal["no", "yes", "later"]
Ending = Literal["answer", "cut", "reset", "hang"]

HTML_502 = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer that replaces the vendor's own."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, body: Any, **headers: str) -> Reply:
        """Return a JSON answer; `retry_after` becomes `Retry-After`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(body).encode(), {"content-type": "application/json", **named})


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    `carried_out`: "no", "yes" (before the ending), or "later" (`later_s` seconds after the ending).
    `ending`: "answer" after `delay_s` seconds (`reply`, or the vendor's own when None), "cut" (the connection is closed
    without an answer), "reset" (it is reset), or "hang" (nothing comes until the client gives up).
    """

    name: str
    carried_out: CarriedOut = "yes"
    ending: Ending = "answer"
    reply: Reply | None = None
    delay_s: float = 0.0
    later_s: float = 0.0


PASS = Fault("pass")
"""No fault: carried out and answered by the vendor."""


def rate_limited(retry_after_s: int = 1) -> Fault:
    """429 with `Retry-After`; not carried out."""
    body = {"ok": False, "error": "ratelimited"}
    return Fault("rate_limited", "no", reply=Reply.json(429, body, retry_after=str(retry_after_s)))


def server_error(status: int = 500) -> Fault:
    """5xx; not carried out."""
    return Fault("server_error", "no", reply=Reply(status, b"Internal Server Error", {"content-type": "text/plain"}))


def server_error_after(status: int = 500) -> Fault:
    """5xx although it was carried out and stored."""
    return Fault(
        "server_error_after", "yes", reply=Reply(status, b"Internal Server Error", {"content-type": "text/plain"})
    )


def html_502() -> Fault:
    """A proxy's HTML page; not carried out."""
    return Fault("html_502", "no", reply=Reply(502, HTML_502, {"content-type": "text/html"}))


def cut() -> Fault:
    """The connection is closed after the whole request was read; not carried out."""
    return Fault("cut", "no", "cut")


def reset() -> Fault:
    """The connection is reset after the whole request was read; not carried out."""
    return Fault("reset", "no", "reset")


def cut_after() -> Fault:
    """The connection is closed after the request was carried out: only the answer is lost."""
    return Fault("cut_after", "yes", "cut")


def cut_then_done(later_s: float) -> Fault:
    """The connection is closed at once, and the request is carried out `later_s` seconds afterwards."""
    return Fault("cut_then_done", "later", "cut", later_s=later_s)


def slow(delay_s: float) -> Fault:
    """Carried out at once, answered after `delay_s` seconds."""
    return Fault("slow", delay_s=delay_s)


def hang() -> Fault:
    """Never answered, not carried out; ends when the client gives up."""
    return Fault("hang", "no", "hang")


def hang_then_done(later_s: float) -> Fault:
    """Never answered, and carried out `later_s` seconds after the client gave up."""
    return Fault("hang_then_done", "later", "hang", later_s=later_s)


def slack_error(code: str) -> Fault:
    """Slack's refusal: HTTP 200 and `{"ok": false}`; not carried out."""
    return Fault(f"slack_{code}", "no", reply=Reply.json(200, {"ok": False, "error": code}))


def pagerduty_refused(*errors: str, status: int = 400) -> Fault:
    """PagerDuty's 400 with `errors`; not carried out."""
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": list(errors) or ["refused"]}
    return Fault("pagerduty_refused", "no", reply=Reply.json(status, body))


def jira_refused(status: int = 400, *messages: str, errors: Mapping[str, str] | None = None) -> Fault:
    """Jira's refusal with its error collection (400, 401, 403, 404, …); not carried out."""
    body = {"errorMessages": list(messages), "errors": dict(errors or {})}
    return Fault(f"jira_{status}", "no", reply=Reply.json(status, body))
