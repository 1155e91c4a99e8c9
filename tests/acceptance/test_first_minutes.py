"""The two commands a newcomer types first: `make run` and `make demo`, as programs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.servers import need

pytestmark = pytest.mark.past_proxy("the example configuration as it is written")

ROOT = Path(__file__).parents[2]
PORTS = (9095, 9096)  # the example configuration names them


def demo(*options: str) -> str:
    command = [sys.executable, "-m", "receiver.sandbox.demo", "--pause", "0", *options]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def in_order(text: str, *words: str) -> bool:
    return re.search(".*".join(map(re.escape, words)), text, re.DOTALL) is not None


def test_the_demo_shows_a_failure_from_its_alert_to_its_end_without_an_alertmanager() -> None:
    told = demo("--direct")
    assert in_order(told, "TRIGGERED", "starts the plan again", "Re-running", "The run ends well", "RESOLVED", "Fixed.")
    assert "Cause" in told
    assert in_order(told, "Jira MIG-1", "DONE")


def test_the_demo_shows_the_same_with_a_real_alertmanager() -> None:
    need("prometheus-alertmanager", "prometheus-alertmanager")
    told = demo()
    assert "a real Alertmanager" in told
    assert in_order(told, "TRIGGERED", "Re-running", "RESOLVED", "Fixed.")


@pytest.fixture
def banner() -> Iterator[str]:
    """Run `make run`'s program; gives what it printed up to its last line, and stops it as Ctrl-C would."""
    for port in PORTS:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0 and os.environ.get("CI", "").lower() != "true":
                pytest.skip(f"port {port} is in use: end `make run`, this test starts one of its own")
    command = [sys.executable, "-m", "receiver.sandbox.run"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            printed = ""
            for line in process.stdout:
                printed += line
                if "Ctrl-C" in line:
                    break
            yield printed
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            for port in PORTS:
                with socket.socket() as asked:
                    assert asked.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still served"


def test_the_printed_line_ends_in_three_results_at_the_sandbox(banner: str) -> None:
    (line,) = [line for line in banner.splitlines() if line.startswith("curl ")]
    words = shlex.split(line)
    url = next(word for word in words if word.startswith("http://"))
    body = (ROOT / words[words.index("-d") + 1].removeprefix("@")).read_bytes()
    answer = httpx2.post(url, content=body, headers={"Content-Type": "application/json"}, trust_env=False)
    assert answer.json() == {"accepted": 1, "rejected": []}

    def results() -> tuple[int, int, int]:
        state: dict[str, Any] = json.loads(httpx2.get("http://127.0.0.1:9096/state", trust_env=False).text)
        messages = [message for channel in state["slack"]["channels"] for message in channel["messages"]]
        roots = [one for one in messages if one.get("thread_ts", one["ts"]) == one["ts"]]  # the log follows in a thread
        return len(roots), len(state["pagerduty"]["incidents"]), len(state["jira"]["issues"])

    end = time.monotonic() + 20
    while results() != (1, 1, 1):
        assert time.monotonic() < end, results()
        time.sleep(0.05)


def test_the_printed_alertmanager_snippet_is_one_that_alertmanager_accepts(banner: str, tmp_path: Path) -> None:
    amtool = need("amtool", "prometheus-alertmanager")
    snippet = banner[banner.index("\nroute:") : banner.index("Ctrl-C")]
    file = tmp_path / "alertmanager.yml"
    file.write_text(snippet.replace("route:\n", "route:\n  receiver: mtv-receiver\n", 1))
    result = subprocess.run([amtool, "check-config", file], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
