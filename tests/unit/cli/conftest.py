"""Running commands in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from receiver.__main__ import app

ROOT = Path(__file__).parents[3]

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command at the root of the project, with nothing set by the environment."""
    for name in ("MTV_RECEIVER_CONFIG", "MTV_RECEIVER_DATA", "MTV_RECEIVER_DATABASE_URL", "MTV_RECEIVER_LISTEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)

    def call(*words: object, stdin: bytes = b"", columns: int = 100, **environment: object) -> Result:
        env = {"COLUMNS": str(columns), **{name: str(value) for name, value in environment.items()}}
        return CliRunner().invoke(app, [str(word) for word in words], input=stdin, env=env)

    return call


def one_line_with_a_cure(text: str) -> bool:
    """Tell whether an error is what people should get: one line, what is wrong; what helps."""
    return text.count("\n") == 1 and "; " in text and "Traceback" not in text
