"""`python -m receiver.sandbox [--listen HOST:PORT]`: the sandbox on its own port, until it is interrupted."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime

import uvicorn

from receiver.sandbox import Sandbox, build_app

DEFAULT_LISTEN = "127.0.0.1:9096"


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m receiver.sandbox", description=__doc__)
    parser.add_argument("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help=f"default {DEFAULT_LISTEN}")
    options = parser.parse_args(arguments)
    host, colon, port = options.listen.rpartition(":")
    if not colon or not port.isdigit():
        parser.error(f"--listen {options.listen}: HOST:PORT expected, for example {DEFAULT_LISTEN}")
    zone = datetime.now().astimezone().tzinfo  # the reader's own clock
    app = build_app(Sandbox.new(time.time, zone=zone) if zone else Sandbox.new(time.time))
    print(f"sandbox: what Slack, PagerDuty and Jira would show is at http://{options.listen}/", flush=True)  # noqa: T201
    uvicorn.run(app, host=host.strip("[]"), port=int(port), log_level="warning", access_log=False, ws="none")
    return 0


if __name__ == "__main__":
    sys.exit(main())
