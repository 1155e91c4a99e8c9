"""The certificate of our own port: new files count for new connections, and nobody is cut off."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.config.listening import ServerTLS
from receiver.tls import CertificateError, Certificates
from tests.fakes.authority import Authority, Certificate

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def mounted(folder: Path, one: Certificate, ca_file: Path | None = None) -> ServerTLS:
    """Mount files as Kubernetes mounts a Secret: links through `..data`, which is what is replaced."""
    at = folder / "mounted"
    at.mkdir(exist_ok=True)
    release = folder / f"..{one.cert.stem}-{ca_file.stem if ca_file else 'none'}"
    release.mkdir()
    shutil.copy(one.cert, release / "tls.crt")
    shutil.copy(one.key, release / "tls.key")
    if ca_file:
        shutil.copy(ca_file, release / "ca.crt")
    link = folder / "..data_tmp"
    link.symlink_to(release)
    link.rename(folder / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (at / name).is_symlink():
            (at / name).symlink_to(folder / "..data" / name)
    return ServerTLS(at / "tls.crt", at / "tls.key", at / "ca.crt" if ca_file else None)


@asynccontextmanager
async def echoing(tls: ServerTLS) -> AsyncIterator[int]:
    """Answer each line with itself."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=Certificates(tls).context)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Client:
    """A connection, and the name on the certificate that it saw."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        shown = writer.get_extra_info("peercert")
        self.saw = dict(pair[0] for pair in shown["subject"])["commonName"]
        self.version = writer.get_extra_info("ssl_object").version()

    async def says(self, line: bytes) -> bytes:
        self._writer.write(line)
        return await self._reader.readline()

    def close(self) -> None:
        self._writer.close()


async def connect(port: int, authority: Authority, name: str | None = None, mine: Certificate | None = None) -> Client:
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.check_hostname = False
    if mine is not None:
        context.load_cert_chain(mine.cert, mine.key)
    return Client(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "127.0.0.1"))


async def heard(port: int, authority: Authority, mine: Certificate | None) -> bool:
    """Is who shows this certificate answered? TLS 1.3 refuses with the first byte that is read."""
    try:
        return await (await connect(port, authority, mine=mine)).says(b"hello\n") == b"hello\n"
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.mark.parametrize("name", [None, "mtv.example.com"])  # an address sends no server name
async def test_a_replaced_secret_counts_for_the_next_connection_and_cuts_nobody_off(
    tmp_path: Path, authority: Authority, name: str | None
) -> None:
    async with echoing(mounted(tmp_path, authority.issue("first"))) as port:
        before = await connect(port, authority, name)
        assert before.saw == "first"
        mounted(tmp_path, authority.issue("second"))
        after = await connect(port, authority, name)
        assert after.saw == "second"
        assert await before.says(b"still here\n") == b"still here\n"
        for one in (before, after):
            one.close()


async def test_files_that_do_not_fit_together_leave_the_last_ones_in_force(
    tmp_path: Path, authority: Authority
) -> None:
    tls = mounted(tmp_path, authority.issue("first"))
    other = authority.issue("other")
    async with echoing(tls) as port:
        tls.key_file.unlink()
        shutil.copy(other.key, tls.key_file)
        assert (await connect(port, authority)).saw == "first"
        tls.cert_file.unlink()
        assert (await connect(port, authority)).saw == "first"
        shutil.copy(other.cert, tls.cert_file)
        assert (await connect(port, authority)).saw == "other"


async def test_only_clients_of_our_authority_are_heard_and_it_can_be_replaced(
    tmp_path: Path, authority: Authority
) -> None:
    foreign = Authority(tmp_path, "foreign")
    wanted = {"client_auth_type": "RequireAndVerifyClientCert", "min_version": "TLS12"}
    tls = replace(mounted(tmp_path, authority.issue("server"), authority.ca_file), **wanted)  # type: ignore[arg-type]
    ana, eve = authority.issue("ana"), foreign.issue("eve")
    async with echoing(tls) as port:
        assert [await heard(port, authority, one) for one in (ana, None, eve)] == [True, False, False]
        mounted(tmp_path, authority.issue("server2"), foreign.ca_file)
        assert [await heard(port, authority, one) for one in (ana, None, eve)] == [False, False, True]


async def test_a_client_certificate_may_be_optional(tmp_path: Path, authority: Authority) -> None:
    tls = mounted(tmp_path, authority.issue("server"), authority.ca_file)
    async with echoing(replace(tls, client_auth_type="VerifyClientCertIfGiven", min_version="TLS13")) as port:
        for mine in (None, authority.issue("ana")):
            client = await connect(port, authority, mine=mine)
            assert (await client.says(b"hello\n"), client.version) == (b"hello\n", "TLSv1.3")


def test_files_that_cannot_be_used_are_named_with_the_cure(tmp_path: Path, authority: Authority) -> None:
    good, other = authority.issue("good"), authority.issue("other")
    (tmp_path / "empty").write_text("")
    for tls, words in (
        (ServerTLS(tmp_path / "no", good.key), f"{tmp_path}/no cannot be read (No such file or directory); create"),
        (ServerTLS(good.cert, other.key), "key values mismatch"),
        (ServerTLS(good.cert, tmp_path / "empty"), "each must hold PEM text"),
        (ServerTLS(good.cert, good.key, tmp_path / "empty"), "each must hold PEM text"),
    ):
        with pytest.raises(CertificateError) as caught:
            Certificates(tls)
        assert words in str(caught.value)
        assert "PRIVATE" not in str(caught.value)
