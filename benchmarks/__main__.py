"""All figures in one table: `python -m benchmarks [--strict]`, or `make bench`. Takes about seven minutes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Row, arguments, end

PARTS = ("ingest", "latency", "backlog", "idle", "capacity", "story_list", "listeners")


def main() -> int:
    """Run every part in a process of its own and show what they found."""
    given = arguments(__doc__).parse_args()
    rows: list[Row] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            found = Path(folder) / part
            command = [sys.executable, "-m", f"benchmarks.{part}", "--rows", str(found)]
            failed |= subprocess.run(command, check=False).returncode != 0
            if found.exists():
                rows += [Row(**json.loads(line)) for line in found.read_text().splitlines()]
    return end("All", rows, given) or int(failed)


if __name__ == "__main__":
    sys.exit(main())
