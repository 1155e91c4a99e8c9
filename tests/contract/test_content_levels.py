"""`content: summary | minimal`: what a destination must not hear is in no byte that it gets, whatever its kind."""

from __future__ import annotations

import base64
import contextlib
import quopri
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import httpx2
import pytest

from receiver.config.model import HttpConfig
from receiver.destinations import Sender
from receiver.destinations.registry import ALL
from receiver.ids import keys
from receiver.keeping import pack
from receiver.model import (
    Ack,
    Alert,
    AlertStatus,
    Cause,
    Change,
    DeliveryState,
    FailureGroup,
    Identity,
    Impact,
    Link,
    LogExcerpt,
    Missing,
    ObjectEvent,
    ObjectState,
    Reason,
    StoryAlert,
    StoryState,
    Told,
    VMCounts,
    VMFailure,
    Wanted,
)
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    OPENED,
    ROUTING_KEY,
    TOKEN,
    deliver,
    moved,
    secret,
    sender,
    story,
    wanted,
)
from tests.fakes.endpoint import endpoint
from tests.fakes.smtp import TLS_FILES, mail_server
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

LOGS = ("plantedlogline",)
ADDRESSES = ("10.66.77.88", "fd00:dead:beef::42", "plantedhost.corp.example.net", "vcenter.planted.example.org")
NAMES = ("plantedvm", "plantedplan", "planted-target", "planted-mig", "plantedcluster", "plantednode")
TEXTS = ("plantedannotation", "plantedcause", "plantedowner", "plantedreason", "plantedlabel", "plantedperson")
FORBIDDEN = {"summary": (*LOGS, *ADDRESSES), "minimal": (*LOGS, *ADDRESSES, *NAMES, *TEXTS)}

EVERYWHERE = (
    "at 10.66.77.88:443, [fd00:dead:beef::42], plantedhost.corp.example.net, https://vcenter.planted.example.org/ui"
)


@dataclass
class Wire(httpx2.AsyncBaseTransport):
    """Passes requests on and keeps them: line, headers and body."""

    sent: list[bytes] = field(default_factory=list)
    _inner: httpx2.AsyncHTTPTransport = field(default_factory=httpx2.AsyncHTTPTransport)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        head = b"".join(name + b": " + value + b"\n" for name, value in request.headers.raw)
        self.sent.append(f"{request.method} {request.url}\n".encode() + head + request.content)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Place:
    """A sender of some kind, and every byte that it has sent."""

    sender: Sender
    sent: Callable[[], list[bytes]]

    def text(self) -> str:
        """Return all of it, read in every way in which a text can stand there."""
        return "\n".join(_readings(b"\n".join(self.sent()))).lower()


def _readings(raw: bytes) -> list[str]:
    text = raw.decode("utf-8", "replace")
    folded = quopri.decodestring(raw).decode("utf-8", "replace")
    found = [text, unquote_plus(text), folded]
    with contextlib.suppress(ValueError):
        found.append(text.encode().decode("unicode_escape"))
    for block in raw.split(b"\r\n\r\n") + raw.split(b"\n\n"):  # bodies and files in base64, as mail has them
        with contextlib.suppress(ValueError):
            found.append(base64.b64decode(b"".join(block.split()), validate=True).decode("utf-8", "replace"))
    return found


@contextlib.asynccontextmanager
async def place(kind: str, folder: Path, content: str) -> AsyncIterator[Place]:
    """Give a sender of a kind that speaks to its fake. A new kind needs a line here."""
    wire = Wire()
    async with (
        FakeVendors(slack_channels=["payments"], jira_projects=["MIG"]) as v,
        contextlib.AsyncExitStack() as more,
    ):
        token, http = {"token_file": TOKEN}, HttpConfig()
        raw: Mapping[str, Any]
        match kind:
            case "slack":
                raw = {"channel": "#payments", "app_token_file": TOKEN, "app_url": v.slack_url}
            case "pagerduty":
                raw = {"routing_key_file": ROUTING_KEY, "url": v.pagerduty_url}
            case "jira":
                raw, http = (
                    {"api_url": v.jira_url, "project": "MIG"},
                    HttpConfig(credentials=secret(folder, "t", TOKEN)),
                )
            case "servicenow":
                raw = {"instance_url": v.servicenow_url}
                http = HttpConfig(username="mtv", password=secret(folder, "password", "planted-password"))
            case "github":
                raw = {**token, "api_url": f"{v.base_url}/github/api/v3", "repo": "acme/migrations"}
            case "gitlab":
                raw = {**token, "url": f"{v.base_url}/gitlab", "project": "acme/migrations"}
            case "webhook":
                there = await more.enter_async_context(endpoint())
                raw = {"url": f"{there.url}/mtv"}
            case "email":
                server = await more.enter_async_context(mail_server())
                tls = {"ca_file": str(TLS_FILES / "ca.pem"), "server_name": "peer.test"}
                raw = {"to": "ops@example.com", "from": "mtv@example.com", "smarthost": server.smarthost}
                raw |= {"hello": "mtv.example.com", "tls_config": tls}
            case _:
                pytest.fail(f"say how to try the kind {kind}")
        clients: list[httpx2.AsyncClient] = []
        made = sender(kind, raw, folder, clients=clients, transport=wire, http=http, content=content)
        mails = server.kept if kind == "email" else []
        yield Place(made, lambda: [*wire.sent, *(one.raw for one in mails)])
        for client in clients:
            await client.aclose()


def planted(content: str) -> Wanted:
    """Return a failure in which everything that somebody else wrote or named can be found again."""
    lines = (f"plantedlogline: could not read key {EVERYWHERE}",)
    vms = tuple(
        VMFailure(
            id=f"plantedvm-id-{at}",
            name=f"plantedvm-{at}",
            step="ImageConversion",
            reasons=(f"plantedreason {EVERYWHERE}",),
            failed_at=OPENED,
            guest="Windows Server 2019",
            power_before="On",
            power_now="off",
            target_exists=False,
        )
        for at in (1, 2)
    )
    evidence = replace(
        EVIDENCE,
        source_provider="plantedhost.corp.example.net",
        counts=VMCounts(total=20, failed=2, succeeded=18),
        failures=vms,
        standing=(replace(vms[0], name="plantedvm-standing", down_run=1),),
        groups=(
            FailureGroup("ImageConversion", f"plantedreason {EVERYWHERE}", ("plantedvm-1",), 1),
            FailureGroup("DiskTransfer", "plantedreason of another kind", ("plantedvm-2",), 1),
        ),
        plan_reasons=(f"plantedreason {EVERYWHERE}",),
        impact=Impact.DOWN,
        impact_text=f"plantedvm-1 is off {EVERYWHERE}",
        logs=(LogExcerpt("plantedvm-1", "planted-target", "pod-1", "virt-v2v", lines, 7, kept=pack("\n".join(lines))),),
        cause=Cause(
            "plantedcause-id", f"plantedcause {EVERYWHERE}", "1 of 1 log", "plantedowner", (f"ask {EVERYWHERE}",)
        ),
        commands=(Link("Run again", "oc --server 10.66.77.88 create -f -"),),
        missing=(Missing("logs", f"plantedreason {EVERYWHERE}", "ask plantedperson"),),
        findings=(f"plantedreason {EVERYWHERE}",),
        objects=(ObjectState("Node", "", "plantednode", f"bad {EVERYWHERE}", (f"plantedlogline {EVERYWHERE}",)),),
        events=(ObjectEvent("Failed", f"plantedlogline {EVERYWHERE}", "Pod", "plantednode", 3, OPENED, warning=True),),
        steps=(Link(f"ask plantedperson {EVERYWHERE}", "oc --server 10.66.77.88 get node"),),
        unrecognised=f"plantedlogline {EVERYWHERE}",
        complete=True,
    )
    identity = Identity(
        "plan/plantedcluster/planted-mig/plantedplan", "plan", "plantedcluster", "", "planted-mig", "plantedplan",
        "planted-target", "planted-mig", facts={"plan_label_owner": "plantedlabel", "plan_annotation_x": EVERYWHERE},
    )  # fmt: skip
    alert = Alert(
        "1" * 16, AlertStatus.FIRING,
        {"alertname": "MTVPlanFailed", "severity": "critical", "plan_name": "plantedplan", "namespace": "planted-mig",
         "instance": "10.66.77.88:8080", "node": "plantednode", "team": "plantedlabel", "phase": "ImageConversion"},
        {"summary": f"plantedannotation {EVERYWHERE}", "description": f"plantedannotation {EVERYWHERE}"},
        OPENED, None, "https://vcenter.planted.example.org/graph",
    )  # fmt: skip
    made = story(
        subject=identity.subject,
        title="plan planted-mig/plantedplan",
        identity=identity,
        evidence=evidence,
        alerts=(StoryAlert(alert),),
        told=(Told("plantedowner", "slack", "slack:x", DeliveryState.PARKED),),
        ack=Ack("plantedperson", "Slack", OPENED),
        note=f"plantedreason {EVERYWHERE}",
    )
    subject = identity.subject if content == "full" else ""
    return wanted(
        made,
        keys=keys(made.id, subject, "example"),
        reasons=(Reason("routes.yaml:41", f"target namespace planted-target matches planted-* {EVERYWHERE}"),),
        fallback_for=f"plantedowner/slack: refused {EVERYWHERE}",
    )


def _other(before: Wanted) -> Wanted:
    """Return the same as an alert about a node."""
    made = replace(before.story, subject="node/plantedcluster//plantednode", kind="node", title="plantedannotation")
    assert made.identity is not None
    identity = replace(made.identity, subject=made.subject, kind="node", name="plantednode")
    return replace(before, story=replace(made, identity=identity))


async def _live(made: Sender, first: Wanted) -> None:
    """Let a failure live: told, learnt more of, run again, failed again, taken, over."""
    text = f"plantedreason {EVERYWHERE}"
    first = moved(first, Change.FIRED, text=text, quiet_allowed=True)
    _, state = await deliver(made, first)
    for change, key, changes in (
        (Change.EVIDENCE, "evidence", {}),
        (Change.RERUN, "rerun-1", {"state": StoryState.RERUNNING}),
        (Change.FAILED_AGAIN, "failed-again-1", {"state": StoryState.FIRING}),
        (Change.WORSE, "worse-9", {}),
        (Change.ACKNOWLEDGED, "acknowledged-9", {}),
        (Change.RESOLVED, "resolved", {**FIXED, "closed": OPENED + timedelta(hours=9)}),
    ):
        _, state = await deliver(made, moved(state, change, key=key, text=text, quiet_allowed=True, **changes))


@pytest.mark.parametrize("what", ["plan", "other alert", "plain form"])
@pytest.mark.parametrize("content", ["summary", "minimal"])
@pytest.mark.parametrize("kind", [kind.kind for kind in ALL])
async def test_no_byte_says_what_the_level_forbids(kind: str, content: str, what: str, tmp_path: Path) -> None:
    state = planted(content)
    state = _other(state) if what == "other alert" else replace(state, plain=what == "plain form")
    async with place(kind, tmp_path, content) as at:
        await _live(at.sender, state)

        said = at.text()
        assert "2 of 20" in said or what == "other alert" or kind == "webhook", "there is something to search"
        assert state.story.id.lower() in said
        found = [one for one in FORBIDDEN[content] if one in said]
        leaks = {one: said[max(said.index(one) - 120, 0) : said.index(one) + 60] for one in found}
        assert not leaks, leaks


@pytest.mark.parametrize("kind", [kind.kind for kind in ALL])
async def test_full_content_says_it_all_so_the_search_would_find_it(kind: str, tmp_path: Path) -> None:
    async with place(kind, tmp_path, "full") as at:
        await _live(at.sender, planted("full"))

        said = at.text()
        shown = ("plantedvm-1", "plantedcause", "10.66.77.88", *(LOGS if kind != "pagerduty" else ()))
        assert [one for one in shown if one not in said] == []
