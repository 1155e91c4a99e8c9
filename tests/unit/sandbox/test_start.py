from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import httpx2


def test_the_sandbox_imports_nothing_else_of_the_service() -> None:
    code = "import sys, receiver.sandbox.__main__; print(*[m for m in sys.modules if m.startswith('receiver.')])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "receiver.sandbox.slack" in loaded
    assert [name for name in loaded if not name.startswith("receiver.sandbox")] == []


def test_the_command_serves_the_page_where_it_is_told_until_it_is_stopped() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "receiver.sandbox", "--listen", listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert f"http://{listen}/" in process.stdout.readline()
            end = time.monotonic() + 20
            while True:
                try:
                    page = httpx2.get(f"http://{listen}/")
                    break
                except httpx2.ConnectError:
                    assert time.monotonic() < end, "the sandbox does not answer"
                    time.sleep(0.05)
            assert "Nothing leaves this machine" in page.text
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def test_a_listen_address_without_port_is_refused_with_the_cure() -> None:
    command = [sys.executable, "-m", "receiver.sandbox", "--listen", "localhost"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert "HOST:PORT expected" in result.stderr
