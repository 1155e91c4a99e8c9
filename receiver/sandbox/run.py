"""`make run`: the service with the example configuration, and the sandbox in place of Slack, PagerDuty and Jira."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from datetime import datetime

from rich.console import Console

from receiver.sandbox import Sandbox, build_app
from receiver.sandbox.processes import CHECKOUT, SetupError, answers, program, service, serving, stop_signals

SERVICE_PORT = 9095
SANDBOX_PORT = 9096  # the example configuration names it
CONFIG = CHECKOUT / "examples" / "sandbox" / "routes.yaml"
DATA = CHECKOUT / "data" / "sandbox"

BANNER = f"""
[bold green]Ready.[/] Slack, PagerDuty and Jira are a sandbox: nothing leaves this machine.

  What they show   http://127.0.0.1:{SANDBOX_PORT}/
  What was heard   http://127.0.0.1:{SERVICE_PORT}/

[bold]Send the first alert[/] (in this folder, from another terminal):

curl -sS http://127.0.0.1:{SERVICE_PORT}/webhook -H 'Content-Type: application/json' -d @examples/alerts/erp-wave1-failed.json

[bold]Or let your Alertmanager send it[/] (alertmanager.yml):

route:
  routes:
    - matchers: ['app="forklift"']
      receiver: mtv-receiver
      continue: true
receivers:
  - name: mtv-receiver
    webhook_configs:
      - url: http://127.0.0.1:{SERVICE_PORT}/webhook
        send_resolved: true
        max_alerts: 0
        http_config:
          follow_redirects: false

Ctrl-C ends both.
"""  # noqa: E501 - lines to copy stay whole


async def run(console: Console) -> int:
    """Serve until a signal, or until the service ends by itself; return the exit code."""
    zone = datetime.now().astimezone().tzinfo  # the reader's own clock
    state = Sandbox.new(time.time, zone=zone) if zone else Sandbox.new(time.time)
    command = service(CONFIG, SERVICE_PORT)
    env = {"MTV_RECEIVER_DATA": str(DATA), "MTV_RECEIVER_DATABASE_URL": ""}  # never a database used in earnest
    with stop_signals() as stop:
        async with serving(build_app(state), SANDBOX_PORT):
            # The sandbox begins empty, so the service must, too: it would look for messages that are no longer there.
            await asyncio.to_thread(shutil.rmtree, DATA, ignore_errors=True)
            async with program(*command, env=env) as ended:
                stopped = asyncio.create_task(stop.wait())
                ready = asyncio.create_task(answers(f"http://127.0.0.1:{SERVICE_PORT}/-/ready", ended, "the service"))
                await asyncio.wait([ready, stopped], return_when=asyncio.FIRST_COMPLETED)
                if ready.done():
                    ready.result()
                    console.print(BANNER, soft_wrap=True, highlight=False)
                    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
                stopped.cancel()
                if not stop.is_set():
                    console.print(f"The service ended with exit code {ended.result()}; its last words are above.")
                    return ended.result() or 1
                console.print("Stopping …")
    return 0


def main() -> int:
    """Run; exit code 0 after Ctrl-C or SIGTERM, else what went wrong is said."""
    console = Console()
    try:
        return asyncio.run(run(console))
    except SetupError as error:
        console.print(str(error), style="red", soft_wrap=True, highlight=False, markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
