"""Rate limits: what is written counts; by itself only a kind whose vendor bans who goes on has one."""

from __future__ import annotations

from pathlib import Path

from receiver.config.load import load
from receiver.destinations.registry import ALL

ROUTES = """
clusters: []
receivers:
  - name: team
    slack_configs:
      - {channel: '#one', app_token_file: secret}
      - {channel: '#two', app_token_file: secret, rate_limit: {per_minute: 30, burst: 5}}
    pagerduty_configs: [{routing_key_file: secret}]
    github_configs: [{repo: example/migrations, token_file: secret}]
route: {receiver: team}
"""


def test_only_github_has_a_limit_that_nobody_wrote(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x" * 32)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    config = load(tmp_path / "routes.yaml", ALL)
    limits = {one.identity: (one.manners.rate_per_minute, one.manners.rate_burst) for one in config.destinations}
    assert sorted(limits.values(), key=str) == [(30.0, 5), (60.0, 20), (None, 1), (None, 1)]
    (github,) = (limits[one] for one in limits if one.startswith("github:"))
    assert github == (60.0, 20)
