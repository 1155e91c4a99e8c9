"""Archives of must-gathers that are not to be trusted, and files that hold anything at all."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.kube import ClusterError, archive
from receiver.kube.archive import Room, unpack
from receiver.kube.kinds import KINDS
from receiver.kube.mustgather import MustGather
from tests.trees import tarred, write, zipped
from tests.unit.kube.gathers import PLAN, WIN01, names, refused
from tests.unit.kube.helpers import EXAMPLE

pytestmark = pytest.mark.anyio

# --- archives that are not to be trusted ---


def tar_of(file: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return file


async def test_a_zip_that_reaches_outside_itself_is_refused(tmp_path: Path) -> None:
    for name in ("../planted.yaml", "x\\..\\..\\planted.yaml", "/planted.yaml"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
            packed.writestr(name, "text")
        assert "outside the archive" in await refused(tmp_path / "x.zip")
    assert not list(tmp_path.parent.rglob("planted.yaml"))


async def test_a_zip_that_unpacks_to_more_than_there_is_room_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("namespaces/team/crs/plan/a.yaml", "x" * 3_000_000)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ClusterError, match="unpack it yourself"):
        unpack(tmp_path / "x.zip", into, lambda *_: None, Room(size=1_000_000))
    assert sum(path.stat().st_size for path in into.rglob("*") if path.is_file()) <= 1_000_000


async def test_more_files_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "x.tar.gz", *((f"namespaces/{at}.yaml", b"x") for at in range(20)))
    with pytest.raises(ClusterError, match="unpack it yourself"):
        unpack(file, tmp_path, lambda *_: None, Room(files=10))


async def test_what_nobody_reads_takes_no_room(tmp_path: Path) -> None:
    file = tar_of(
        tmp_path / "x.tar.gz", ("audit_logs/big.log.gz", b"x" * 100_000), ("namespaces/t/crs/plan/a.yaml", b"x")
    )
    room = Room(size=10)
    unpack(file, tmp_path / "into", lambda *_: None, room)
    assert room.size == 9
    assert not (tmp_path / "into" / "audit_logs").exists()


async def test_members_that_cannot_be_written_are_told_and_the_others_are_there(tmp_path: Path) -> None:
    body = yaml.safe_dump(PLAN).encode()
    folder = "namespaces/team/crs/plan"
    file = tar_of(
        tmp_path / "x.tar.gz",
        (f"{folder}/a.yaml", body),
        (f"{folder}/a.yaml/b.yaml", body),  # a file as a folder
        (f"{folder}/{'n' * 300}.yaml", body),
        (f"{folder}/{'d/' * 40}c.yaml", body),
    )
    gather = MustGather("t", file)
    assert await names(gather) == ["a"]
    assert len(gather.problems) == 3
    await gather.aclose()


async def test_a_folder_full_of_archives_is_refused_by_name(tmp_path: Path) -> None:
    for at in range(archive.MAX_ARCHIVES + 1):
        write(tmp_path / f"{at}.zip", "")
    assert "name the one of the must-gather" in await refused(tmp_path)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "does not exist; give the folder"),
        ("text", "is no archive; give the folder"),
        ("cut", "cut off or damaged"),
        ("cut zip", "cannot be unpacked|cut off or damaged"),
        ("empty folder", "holds no must-gather"),
        ("encrypted", "unpack it yourself"),
    ],
)
async def test_what_is_no_must_gather_says_in_one_line_what_helps(tmp_path: Path, what: str, says: str) -> None:
    path = tmp_path / "x"
    match what:
        case "text":
            path.write_text("hello")
        case "cut":
            whole = tarred(EXAMPLE, tmp_path / "whole").read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "cut zip":
            whole = zipped(EXAMPLE, tmp_path / "whole").read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "empty folder":
            path.mkdir()
        case "encrypted":
            whole = zipped(EXAMPLE, tmp_path / "whole").read_bytes()
            path.write_bytes(_marked_as_encrypted(whole))
    message = await refused(path)
    assert any(one in message for one in says.split("|"))


def _marked_as_encrypted(body: bytes) -> bytes:
    """Set the flag of a password in every header of a zip."""
    changed = bytearray(body)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = changed.find(mark)
        while start >= 0:
            changed[start + at] |= 1
            start = changed.find(mark, start + 4)
    return bytes(changed)


# --- anything at all ---

ERROR_TEXTS = (
    b"",
    b"Error from server (NotFound): gone\n",
    b"<html></html>",
    b"\x00\xff\xfe",
    b"- [",
    b"kind: List\nitems: 7",
)
DAMAGE = st.one_of(st.sampled_from(ERROR_TEXTS), st.binary(max_size=200), st.integers(0, 4_000).map(lambda size: size))


async def read_everything(gather: MustGather) -> None:
    """Ask for everything; only ClusterErrors may come of it."""
    try:
        await gather.load()
        for kind in KINDS:
            await gather.list(kind, None)
            await gather.holds(kind, "erp-prod")
        for pod in (WIN01, "erp-wave1-vm-1401-q4zrm"):
            await gather.log("erp-prod", pod, "virt-v2v", tail_lines=10)
    except ClusterError:
        pass
    finally:
        await gather.aclose()


def hurt(tree: Path, damage: dict[int, bytes | int]) -> None:
    """Cut files, or put something else into them."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    for at, how in damage.items():
        file = files[at % len(files)]
        file.write_bytes(file.read_bytes()[:how] if isinstance(how, int) else how)


SLOW_OK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW_OK
@given(damage=st.dictionaries(st.integers(0, 30), DAMAGE, max_size=8))
async def test_whatever_the_files_hold_nothing_but_a_cluster_error_is_raised(damage: dict[int, bytes | int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(shutil.copytree(EXAMPLE, Path(folder) / "tree"))
        hurt(tree, damage)
        await read_everything(MustGather("t", tree))


@SLOW_OK
@given(zip_=st.booleans(), changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=6))
async def test_whatever_an_archive_holds_nothing_but_a_cluster_error_is_raised(
    zip_: bool, changes: list[tuple[float, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x"
        body = bytearray((zipped(EXAMPLE, file) if zip_ else tarred(EXAMPLE, file, mode="w")).read_bytes())
        for where, new in changes:
            at = int(where * (len(body) - len(new)))
            body[at : at + len(new)] = new
        file.write_bytes(bytes(body))
        await read_everything(MustGather("t", file))
        assert os.listdir(folder) == ["x"]  # noqa: PTH208
