"""`make demo`: one failed plan from its alert to its end, told as it happens; ends by itself.

A stand-in API server serves the sample cluster, so that the plan can change its state; the alerts come from a real
Alertmanager where one is installed, else they are posted as it would post them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import yaml
from rich.console import Console
from rich.text import Text

from receiver.sandbox import Sandbox, build_app, incident, narrate
from receiver.sandbox.cluster import Obj, SampleCluster, kubeconfig
from receiver.sandbox.processes import (
    CHECKOUT,
    POLL_S,
    SetupError,
    answers,
    free_port,
    program,
    service,
    serving,
    stop_signals,
    until,
)

STAGE_WITHIN_S = 25.0  # tickets wait up to 10 s for evidence; a resolve less than 1 s
RESOLVE_DELAY = "2s"
EXAMPLE = CHECKOUT / "examples" / "sandbox"
SANDBOX_IN_EXAMPLE = "http://127.0.0.1:9096"
OPEN = ({"triggered"}, {"new"})  # states of incidents, categories of tickets
CLOSED = ({"resolved"}, {"done"})

Send = Callable[[Obj, datetime | None], Awaitable[None]]
"""Sends an alert; the second argument is when it ended."""


class StageError(Exception):
    """What a step of the demo should have shown did not come."""


class Stage:
    """The sandbox, watched; prints each change with the seconds since the start."""

    def __init__(self, state: Sandbox, console: Console, ended: asyncio.Task[int]) -> None:
        self._state = state
        self._console = console
        self._ended = ended
        self._start = time.monotonic()
        self._seen: dict[str, narrate.Shown] = {}

    def act(self, text: str) -> None:
        """Print what happens now."""
        self._line(Text(text, style="bold cyan"))

    def now(self) -> dict[str, Any]:
        """Return what the sandbox shows."""
        return self._state.snapshot()

    async def shows(self, what: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the sandbox shows it; raises StageError when it does not come."""
        came = await until(lambda: condition(self.now()), STAGE_WITHIN_S, self._ended)
        self.tell()
        if not came:
            why = (
                f"the service ended with exit code {self._ended.result()}" if self._ended.done() else "it did not come"
            )
            raise StageError(f"{what} was expected, {why}")

    async def follow(self) -> None:
        """Print news until cancelled."""
        while True:
            self.tell()
            await asyncio.sleep(POLL_S)

    def tell(self) -> None:
        """Print what is new since the last look."""
        now = narrate.shown(self.now())
        for item in narrate.news(self._seen, now):
            mark, style = ("+", "green") if item.new else ("~", "yellow")
            self._line(Text.assemble((f"  {mark} ", style), (f"{item.shown.where:<30} ", style), item.shown.text))
        self._seen = now

    def _line(self, text: Text) -> None:
        passed = Text(f"{time.monotonic() - self._start:5.1f} s  ", style="dim")
        self._console.print(passed + text, soft_wrap=True, highlight=False)


async def play(stage: Stage, cluster: SampleCluster, send: Send, pause_s: float) -> None:
    """Let the plan fail, run again and succeed; after each step wait for what must be seen."""
    failed = incident.failed_alert(CHECKOUT / "examples" / "alerts", datetime.now(UTC))
    stage.act("Migration plan erp-wave1 has failed: Forklift's alert MigrationFailed fires.")
    await send(failed, None)
    await stage.shows("a message, a page and a ticket", lambda now: bool(_roots(now)) and _states(now) == OPEN)
    await asyncio.sleep(pause_s)

    at = datetime.now(UTC)
    stage.act("Somebody starts the plan again: the alert goes away, but nothing is fixed yet.")
    before = _roots(stage.now())
    incident.run_again(cluster, at)
    await send(failed, at)
    await stage.shows("a changed message, the page still open", lambda now: _roots(now) != before)
    await asyncio.sleep(pause_s)
    if _states(stage.now()) != OPEN:
        raise StageError("the page and the ticket must stay open while the plan runs again, they do not")

    at = datetime.now(UTC)
    stage.act("The run ends well: the plan has succeeded.")
    incident.succeed(cluster, at)
    await send(incident.succeeded_alert(failed, at), None)
    await stage.shows("the page resolved and the ticket done", lambda now: _states(now) == CLOSED)
    await asyncio.sleep(max(pause_s, 1.0))  # an edit or a comment may still be on its way

    shown = stage.now()
    counts = len(_roots(shown)), len(shown["pagerduty"]["incidents"]), len(shown["jira"]["issues"])
    stage.tell()
    if counts != (1, 1, 1):
        raise StageError(f"one message, one incident and one ticket were expected, there are {counts}")
    stage.act("Fixed. One message, one incident, one ticket, from the failure to its end.")


def _roots(snapshot: Mapping[str, Any]) -> list[str]:
    messages = [message for channel in snapshot["slack"]["channels"] for message in channel["messages"]]
    return [message["text"] for message in messages if message["root"]]


def _states(snapshot: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    return (
        {one["state"] for one in snapshot["pagerduty"]["incidents"]},
        {one["fields"]["status"]["statusCategory"]["key"] for one in snapshot["jira"]["issues"]},
    )


def configuration(service_port: int, sandbox_port: int, kubeconfig_file: Path, alertmanager_port: int | None) -> str:
    """Return the example configuration, changed to what the demo runs."""
    text = (EXAMPLE / "routes.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text.replace(SANDBOX_IN_EXAMPLE, f"http://127.0.0.1:{sandbox_port}"))
    config["global"] = {**config.get("global", {}), "resolve_delay": RESOLVE_DELAY}
    config["clusters"] = [{"name": "sample", "kubeconfig_file": str(kubeconfig_file)}]
    config["web"] = {**config.get("web", {}), "external_url": f"http://127.0.0.1:{service_port}"}
    if alertmanager_port is not None:
        url = f"http://127.0.0.1:{alertmanager_port}"
        config["alertmanagers"] = [{"name": "demo", "url": url, "receiver": "mtv-receiver"}]
    return yaml.safe_dump(config, sort_keys=False)


def alertmanager_configuration(service_port: int) -> str:
    """Return an alertmanager.yml that sends all alerts to the service, at once."""
    hook = {
        "url": f"http://127.0.0.1:{service_port}/webhook",
        "send_resolved": True,
        "max_alerts": 0,
        "http_config": {"follow_redirects": False},
    }
    route = {"receiver": "mtv-receiver", "group_by": ["alertname", "plan"], "group_wait": "0s", "group_interval": "1s"}
    return yaml.safe_dump({"route": route, "receivers": [{"name": "mtv-receiver", "webhook_configs": [hook]}]})


def installed_alertmanager() -> str | None:
    """Return the path of Alertmanager; Debian calls it prometheus-alertmanager."""
    names = ("prometheus-alertmanager", "alertmanager")
    return next((path for path in map(shutil.which, names) if path), None)


async def alertmanager(stack: contextlib.AsyncExitStack, binary: str, port: int, folder: Path, hook_port: int) -> Send:
    """Run an Alertmanager until the stack closes; return how alerts are sent to it."""
    file = folder / "alertmanager.yml"
    file.write_text(alertmanager_configuration(hook_port), encoding="utf-8")
    command = (
        binary, f"--config.file={file}", f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    )  # fmt: skip
    ended = await stack.enter_async_context(program(*command, env={}, log=folder / "alertmanager.log"))
    await answers(f"http://127.0.0.1:{port}/-/ready", ended, "Alertmanager")

    async def send(alert: Obj, ended: datetime | None) -> None:
        until_then = ended or datetime.now(UTC) + timedelta(minutes=5)
        await _post(f"http://127.0.0.1:{port}/api/v2/alerts", [{**alert, "endsAt": incident.stamp(until_then)}])

    return send


def directly(hook_port: int) -> Send:
    """Return a stand-in for Alertmanager: each alert is posted at once."""

    async def send(alert: Obj, ended: datetime | None) -> None:
        await _post(f"http://127.0.0.1:{hook_port}/webhook", incident.webhook(alert, ended))

    return send


async def _post(url: str, body: object) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=10.0) as client:
        (await client.post(url, json=body)).raise_for_status()


@contextlib.asynccontextmanager
async def scene(folder: Path, console: Console, *, direct: bool) -> AsyncIterator[tuple[Stage, SampleCluster, Send]]:
    """Start everything on free ports of 127.0.0.1, with all files in `folder`; stop it at the end of the block."""
    state = Sandbox.new(time.time)
    cluster = SampleCluster.from_must_gather(
        CHECKOUT / "examples" / "must-gather", incident.shift_to(datetime.now(UTC))
    )
    binary = None if direct else installed_alertmanager()
    hook_port, alertmanager_port = free_port(), free_port() if binary else None
    async with contextlib.AsyncExitStack() as stack:
        sandbox_port = await stack.enter_async_context(serving(build_app(state)))
        cluster_port = await stack.enter_async_context(serving(cluster.app()))
        (folder / "kubeconfig").write_text(kubeconfig(cluster_port), encoding="utf-8")
        shutil.copytree(EXAMPLE / "secrets", folder / "secrets")
        config = folder / "routes.yaml"
        config.write_text(configuration(hook_port, sandbox_port, folder / "kubeconfig", alertmanager_port))
        env = {"MTV_RECEIVER_DATA": str(folder / "data"), "MTV_RECEIVER_DATABASE_URL": ""}
        ended = await stack.enter_async_context(
            program(*service(config, hook_port), env=env, log=folder / "service.log")
        )
        await answers(f"http://127.0.0.1:{hook_port}/-/ready", ended, "the service")
        if binary and alertmanager_port:
            send = await alertmanager(stack, binary, alertmanager_port, folder, hook_port)
        else:
            send = directly(hook_port)
        source = f"a real Alertmanager ({binary})" if binary else "direct posts (no Alertmanager is installed)"
        console.print(
            f"The sandbox's page, while this runs: http://127.0.0.1:{sandbox_port}/   Alerts come from {source}.\n",
            soft_wrap=True,
            highlight=False,
        )
        yield Stage(state, console, ended), cluster, send


async def demo(console: Console, *, direct: bool, pause_s: float) -> int:
    """Play once; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="mtv-receiver-demo-") as name, stop_signals() as stop:
        folder = Path(name)
        try:
            async with scene(folder, console, direct=direct) as (stage, cluster, send):
                tasks = [
                    asyncio.create_task(play(stage, cluster, send, pause_s)),
                    asyncio.create_task(stage.follow()),
                    asyncio.create_task(stop.wait()),
                ]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks[1:] if tasks[0].done() else tasks:
                        task.cancel()
                    await asyncio.wait(tasks)
                for task in tasks[:2]:
                    if not task.cancelled():
                        task.result()
        except (SetupError, StageError, httpx2.HTTPError) as error:
            console.print(f"\n{error or type(error).__name__}", style="red", markup=False, highlight=False)
            log = folder / "service.log"
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:] if log.exists() else []
            console.print("The service's last words:", *lines, sep="\n", markup=False, highlight=False, soft_wrap=True)
            return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Play the demo; exit code 1 when something did not come as it should."""
    parser = argparse.ArgumentParser(prog="python -m receiver.sandbox.demo", description=__doc__)
    parser.add_argument("--direct", action="store_true", help="post the alerts, even if an Alertmanager is installed")
    parser.add_argument("--pause", type=float, default=2.0, metavar="SECONDS", help="time to read between steps")
    options = parser.parse_args(arguments)
    return asyncio.run(demo(Console(), direct=options.direct, pause_s=options.pause))


if __name__ == "__main__":
    sys.exit(main())
