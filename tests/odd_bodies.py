"""Odd and malformed webhook bodies, each with the answer it must get: what can be used is used, the rest is named."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

ZERO = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Odd:
    """One body. `says` are words of the error, or of the reasons in `rejected`, index before colon."""

    name: str
    raw: bytes
    status: int = 200
    accepted: int = 1
    says: tuple[str, ...] = ()


def alert(**changed: Any) -> dict[str, Any]:
    """Return a good alert with some keys changed; `...` removes one."""
    whole = {
        "status": "firing",
        "labels": {"alertname": "Odd", "severity": "warning"},
        "annotations": {"summary": "odd"},
        "startsAt": "2026-11-21T08:00:00Z",
        "endsAt": ZERO,
        "generatorURL": "http://prometheus.example.com/graph",
        "fingerprint": "0000000000000000",
    } | changed
    return {key: value for key, value in whole.items() if value is not ...}


def document(*alerts: Any, **changed: Any) -> dict[str, Any]:
    """Return a webhook around alerts with some keys changed; `...` removes one."""
    whole = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "mtv-receiver",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com",
        "alerts": list(alerts),
    } | changed
    return {key: value for key, value in whole.items() if value is not ...}


def body(*alerts: Any, **changed: Any) -> bytes:
    """Return the bytes of `document`."""
    return json.dumps(document(*alerts, **changed)).encode()


def _with(text: str, by: str) -> bytes:
    """Return a good body in which a text of the JSON is replaced, for what no encoder would write."""
    whole = json.dumps(document(alert()))
    assert text in whole
    return whole.replace(text, by).encode("utf-8", "surrogatepass")


def _labels(**labels: Any) -> bytes:
    return body(alert(labels=labels))


DEEP = 100_000
GOOD = alert(labels={"alertname": "Good"})
NO_JSON = ("the body is no JSON", "version 4")

NOTHING_USABLE = (
    Odd("no body at all", b"", 400, 0, NO_JSON),
    Odd("only blanks", b" \r\n\t ", 400, 0, NO_JSON),
    Odd("a word", b"hello", 400, 0, NO_JSON),
    Odd("a web page", b"<!doctype html><title>502</title>", 400, 0, NO_JSON),
    Odd("a form", b"version=4&alerts=%5B%5D", 400, 0, NO_JSON),
    Odd("cut off in the middle", body(alert())[:200], 400, 0, NO_JSON),
    Odd("a comma too many", _with('"alerts": [{', '"alerts": [,{'), 400, 0, NO_JSON),
    Odd("two documents", body(alert()) * 2, 400, 0, NO_JSON),
    Odd("single quotes", body(alert()).replace(b'"', b"'"), 400, 0, NO_JSON),
    Odd("compressed", gzip.compress(body(alert())), 400, 0, NO_JSON),
    Odd("UTF-16", body(alert()).decode().encode("utf-16"), 400, 0, NO_JSON),
    Odd("a YAML document", b'version: "4"\nalerts: []\n', 400, 0, NO_JSON),
    Odd("null", b"null", 400, 0, ("missing, not a JSON object",)),
    Odd("true", b"true", 400, 0, ("a boolean, not a JSON object",)),
    Odd("a number", b"4", 400, 0, ("a number, not a JSON object",)),
    Odd("a text", b'"alerts"', 400, 0, ("text, not a JSON object",)),
    Odd("a list of alerts without its body", json.dumps([alert()]).encode(), 400, 0, ("a list, not a JSON object",)),
    Odd("an empty object", b"{}", 400, 0, ("version is missing",)),
    Odd("no version", body(alert(), version=...), 400, 0, ("version is missing",)),
    Odd("version null", body(alert(), version=None), 400, 0, ("version is missing",)),
    Odd("version 4 as a number", body(alert(), version=4), 400, 0, ('version is 4, not "4"',)),
    Odd("version 4.0", body(alert(), version=4.0), 400, 0, ('version is 4.0, not "4"',)),
    Odd("version 3", body(alert(), version="3"), 400, 0, ('version is "3"',)),
    Odd("version with a blank", body(alert(), version="4 "), 400, 0, ('version is "4 "',)),
    Odd("version true", body(alert(), version=True), 400, 0, ("version is true",)),
    Odd("version in a list", body(alert(), version=["4"]), 400, 0, ("version is a list",)),
    Odd("version of a megabyte", body(alert(), version="4" * 1_000_000), 400, 0, ('version is "444',)),
    Odd("no alerts", body(alerts=...), 400, 0, ("alerts is missing",)),
    Odd("alerts null", body(alerts=None), 400, 0, ("alerts is missing",)),
    Odd("alerts under another name", body(Alerts=[alert()], alerts=...), 400, 0, ("alerts is missing",)),
    Odd("alerts an object", body(alerts={"0": alert()}), 400, 0, ("alerts is an object",)),
    Odd("alerts a text", body(alerts="firing"), 400, 0, ("alerts is text",)),
    Odd("alerts a number", body(alerts=1), 400, 0, ("alerts is a number",)),
    Odd("nothing but null", body(None), 400, 0, ("alerts[0]: missing, not an object",)),
    Odd("nothing but lists", body([], []), 400, 0, ("none of 2 alerts", "alerts[0]: a list, not an object")),
    Odd("no status", body(alert(status=...)), 400, 0, ("status is missing",)),
    Odd("status null", body(alert(status=None)), 400, 0, ("status is missing",)),
    Odd("status in capitals", body(alert(status="FIRING")), 400, 0, ('status is "FIRING"',)),
    Odd("status of the API", body(alert(status={"state": "active"})), 400, 0, ("status is an object",)),
    Odd("status pending", body(alert(status="pending")), 400, 0, ('status is "pending"',)),
    Odd("no labels", body(alert(labels=...)), 400, 0, ("no label with a value",)),
    Odd("labels null", body(alert(labels=None)), 400, 0, ("no label with a value",)),
    Odd("labels empty", _labels(), 400, 0, ("no label with a value",)),
    Odd("labels a list", body(alert(labels=["alertname"])), 400, 0, ("no label with a value",)),
    Odd("labels a text", body(alert(labels="alertname=Odd")), 400, 0, ("no label with a value",)),
    Odd("only empty label values", _labels(alertname="", severity=""), 400, 0, ("no label with a value",)),
    Odd("only objects as label values", _labels(alertname={"a": "b"}, x=None), 400, 0, ("no label with a value",)),
    Odd("only NUL as label name", _labels(**{"\0": "x"}), 400, 0, ("no label with a value",)),
    Odd("only NUL as label value", _labels(alertname="\0\0"), 400, 0, ("no label with a value",)),
    Odd("nothing but brackets", b"[" * DEEP, 400, 0, ("nested too deeply",)),
    Odd("nested without end", b'{"version":"4","alerts":' + b'[{"a":' * DEEP, 400, 0, ("nested too deeply",)),
)

PARTLY_USABLE = (
    Odd("null beside a good one", body(None, GOOD), says=("0: missing, not an object",)),
    Odd("a number beside a good one", body(GOOD, 7), says=("1: a number, not an object",)),
    Odd("a list beside a good one", body(GOOD, [GOOD]), says=("1: a list, not an object",)),
    Odd("no status beside a good one", body(alert(status=...), GOOD), says=("0: status is missing",)),
    Odd("odd status beside a good one", body(GOOD, alert(status="gone")), says=('1: status is "gone"',)),
    Odd("no labels beside a good one", body(GOOD, alert(labels={})), says=("1: no label with a value",)),
    Odd(
        "good ones between bad ones",
        body(None, GOOD, alert(status=1), alert(), alert(labels=[])),
        accepted=2,
        says=("0: missing", "2: status is 1", "4: no label with a value"),
    ),
)

USABLE = (
    Odd("nothing odd", body(alert())),
    Odd("no alerts in the list", body(), accepted=0),
    Odd("only version and alerts", json.dumps({"version": "4", "alerts": [alert()]}).encode()),
    Odd("only status and labels", body({"status": "firing", "labels": {"alertname": "Odd"}})),
    Odd("without truncatedAlerts, as 0.21 sends it", body(alert(), truncatedAlerts=...)),
    Odd("keys of a later version", body(alert(later={"a": [1]}), notificationReason="x", routeID="{}/0")),
    Odd("nonsense around good alerts", body(alert(), status=7, groupLabels=[], receiver=None, truncatedAlerts="x")),
    Odd("blanks around", b"\n  " + body(alert()) + b"\r\n\n"),
    Odd("a byte order mark", b"\xef\xbb\xbf" + body(alert())),
    Odd("the same alert twice", body(alert(), alert()), accepted=2),
    Odd("a thousand alerts", body(*(_ for _ in [alert()] * 1_000)), accepted=1_000),
    # identity
    Odd("no fingerprint", body(alert(fingerprint=...))),
    Odd("a fingerprint that is a number", body(alert(fingerprint=12))),
    Odd("no alertname", _labels(severity="warning")),
    # times
    Odd("no startsAt", body(alert(startsAt=...))),
    Odd("startsAt null", body(alert(startsAt=None))),
    Odd("startsAt a number", body(alert(startsAt=1_795_000_000))),
    Odd("startsAt in words", body(alert(startsAt="yesterday"))),
    Odd("startsAt empty", body(alert(startsAt=""))),
    Odd("startsAt zero", body(alert(startsAt=ZERO))),
    Odd("startsAt before all time", body(alert(startsAt="-0044-03-15T12:00:00Z"))),
    Odd("startsAt in year 2", body(alert(startsAt="0002-01-01T00:00:00Z"))),
    Odd("startsAt in a leap second", body(alert(startsAt="2016-12-31T23:59:60Z"))),
    Odd("startsAt beyond all time", body(alert(startsAt="9999-12-31T23:59:59-14:00"))),
    Odd("startsAt without a zone", body(alert(startsAt="2026-11-21T08:00:00"))),
    Odd("resolved without an end", body(alert(status="resolved", endsAt=...))),
    Odd("resolved at zero", body(alert(status="resolved", endsAt=ZERO))),
    Odd("resolved before it began", body(alert(status="resolved", endsAt="2020-01-01T00:00:00Z"))),
    # annotations and links
    Odd("no annotations", body(alert(annotations=...))),
    Odd("annotations null", body(alert(annotations=None))),
    Odd("annotations a list", body(alert(annotations=["a"]))),
    Odd("annotations of all kinds", body(alert(annotations={"a": 1, "b": None, "c": [1], "d": {"e": 1}, "f": True}))),
    Odd("a long annotation", body(alert(annotations={"description": "x" * 1_000_000}))),
    Odd("generatorURL missing", body(alert(generatorURL=...))),
    Odd("generatorURL a number", body(alert(generatorURL=9))),
    # label values
    Odd("labels that are numbers and booleans", _labels(alertname="Odd", a=1, b=1.5, c=True, d=None)),
    Odd("a label that is NaN", _with('"warning"', "NaN")),
    Odd("a label that is Infinity", _with('"warning"', "-Infinity")),
    Odd("a label beyond every float", _with('"warning"', "1e999")),
    Odd("a label of 1,000 digits", _with('"warning"', "9" * 1_000)),
    Odd("a number of 10,000 digits that nobody asked for", _with('"truncatedAlerts": 0', '"x": ' + "9" * 10_000)),
    Odd("an empty label name", _labels(**{"": "x", "alertname": "Odd"})),
    Odd(
        "label names of all scripts",
        _labels(**{"alertname": "Odd", "größe": "α", "节点": "东", "🚒": "🔥", "a b": "c"}),
    ),
    Odd("ten thousand labels", _labels(alertname="Odd", **{f"label_{at}": str(at) for at in range(10_000)})),
    Odd("a label name of 100,000 characters", _labels(**{"alertname": "Odd", "n" * 100_000: "x"})),
    Odd("markup in labels", _labels(alertname="<!channel> {{ x }} *b*", x='"><script>', y="' OR 1=1 --")),
    # characters
    Odd("NUL in names and values", body(alert(labels={"alert\0name": "O\0dd"}, annotations={"a\0": "\0"}))),
    Odd("half a character first", _with('"odd"', '"\\ud83d"')),
    Odd("half a character last", _with('"warning"', '"\\udca5"')),
    Odd("half a character in a name", _with('"severity"', '"\\ud800sev"')),
    Odd("bytes of half a character", _with('"warning"', '"\ud83d"')),
    Odd("bytes that are no UTF-8", body(alert()).replace(b'"warning"', b'"w\xff\xfer\x80"')),
    Odd("bytes that are no UTF-8 in a name", body(alert()).replace(b'"severity"', b'"\xc3\x28"')),
    Odd("every control character escaped", _labels(alertname="Odd", x="".join(map(chr, range(32))))),
    # keys that stand twice: the last one counts, as in Go
    Odd("version twice", _with('"version": "4"', '"version": "3", "version": "4"')),
    Odd("alerts twice", _with('"alerts": [', '"alerts": [null, 5], "alerts": [')),
    Odd("a label twice", _with('"severity": "warning"', '"severity": "info", "severity": "critical"')),
    Odd("a nested object of 500 levels", _with('"truncatedAlerts": 0', '"x": ' + "[" * 500 + "]" * 500)),
)

ALL = (*NOTHING_USABLE, *PARTLY_USABLE, *USABLE)
