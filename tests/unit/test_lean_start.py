"""What a service that needs it not does not load: memory for as long as it lives, and time at each start."""

from __future__ import annotations

import json
import subprocess
import sys

SERVE = "import receiver.__main__, receiver.cli.serve, json, sys; print(json.dumps(sorted(sys.modules)))"


def test_serve_loads_neither_the_other_database_nor_what_only_some_destinations_and_commands_need() -> None:
    said = subprocess.run([sys.executable, "-c", SERVE], capture_output=True, text=True, check=True)
    modules = set(json.loads(said.stdout))
    assert not modules & {
        "receiver.capacity",
        "receiver.plan_capacity",
        "receiver.kube.client",
        "receiver.store.postgres",
    }
    loaded = {name.partition(".")[0] for name in modules}
    assert "sqlalchemy" in loaded  # the question was understood
    assert not loaded & {"psycopg", "alembic", "lightkube", "slack_sdk", "aiosmtplib", "rich", "h2", "greenlet"}


def test_the_schema_for_editors_says_what_each_key_means() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "receiver", "config", "schema"], capture_output=True, text=True, check=True
    )
    properties = json.loads(said.stdout)["properties"]
    assert properties["include"]["description"].startswith("Files and globs")
