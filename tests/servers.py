"""The real programs some tests compare with, or run against."""

from __future__ import annotations

import os
import shutil

import pytest

# Debian puts daemons where an ordinary user's PATH does not look.
_ALSO_IN = ("/usr/sbin", "/usr/local/sbin", "/sbin")


def need(binary: str, package: str) -> str:
    """Return the path of a program, such as ``amtool``.

    Where it is missing the test is skipped with a sentence that says what to install; with CI=true it fails, so
    that a pipeline cannot pass by comparing with nothing.
    """
    path = shutil.which(binary, path=os.pathsep.join([os.environ.get("PATH", ""), *_ALSO_IN]))
    if path:
        return path
    sentence = f"{binary} is not installed: this test compares with it; install the Debian package {package}."
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)
