"""The shipped must-gather, and `diagnose` where nothing is configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import ROOT, Run

SAMPLE = ROOT / "examples" / "must-gather"
ERP = "mig-team-a/erp-wave1"
FAILED = "examples/alerts/erp-wave1-failed.json"
SANDBOX = "examples/sandbox/routes.yaml"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run) -> Run:
    """Return `run` in an empty folder of a home without anything: no routes.yaml, no kubeconfig."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    return run
