"""The form of logs is one of two, and whoever writes another is told so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def said(form: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "receiver", "db", "--help"]
    env = {**os.environ, "MTV_RECEIVER_LOG_FORMAT": form}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("form", ["text", "json", ""])
def test_a_form_that_there_is_is_taken(form: str) -> None:
    assert said(form) == (0, "")


@pytest.mark.parametrize("form", ["xml", "JSON"])
def test_any_other_form_is_refused_with_those_that_there_are(form: str) -> None:
    assert said(form) == (2, f"MTV_RECEIVER_LOG_FORMAT: {form!r} is no form of logs; set it to text or json\n")
