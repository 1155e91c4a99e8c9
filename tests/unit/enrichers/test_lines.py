"""The few lines of a log that say why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.enrichers.lines import LINE_LIMIT, clean, decisive_lines
from tests.unit.enrichers.cluster import log_text

WRAPPED = (
    "virt-v2v: error: filesystem was mounted read-only, even though we asked for it to be mounted read-write.  This "
    "usually means that the filesystem was not cleanly unmounted.  Possible causes include trying to convert a guest "
    "which is running, or using Windows Hibernation or Fast Restart."
)


def test_the_wrapped_error_of_virt_v2v_becomes_one_line() -> None:
    first, lines = decisive_lines(log_text("a-virt-v2v-erp-win01.log"))
    assert WRAPPED in lines
    assert "Original error message: touch: open: /xk3v9q2a: Read-only file system" in lines
    assert not any("monitoring" in line for line in lines)
    assert log_text("a-virt-v2v-erp-win01.log").splitlines()[first - 1] == lines[0]


def test_an_importers_error_keeps_the_texts_below_it_and_drops_the_stack() -> None:
    _, lines = decisive_lines(log_text("b2-importer-crm-app01-previous.log"))
    assert any("ServerFaultCode" in line and line.endswith("(repeated 2 times)") for line in lines)
    assert "Failed to query changed areas (repeated 2 times)" in lines
    assert not any("containerized-data-importer" in line or ".go:1297" in line for line in lines)


def test_a_fatal_line_of_a_populator_is_found() -> None:
    _, lines = decisive_lines(log_text("g-openstack-populator.log"))
    assert lines[-1].startswith("F0921")


def test_a_bitlocker_log_shows_the_file_system_and_the_refusal() -> None:
    debug = "\n".join(f"libguestfs: trace: v2v: debug {number}" for number in range(5_000))
    text = f'{debug}\nlibguestfs: trace: v2v: vfs_type = "BitLocker"\n{debug}\nvirt-v2v: could not read key from user\n'
    first, lines = decisive_lines(text)
    assert 'libguestfs: trace: v2v: vfs_type = "BitLocker"' in lines
    assert lines[-1] == "virt-v2v: could not read key from user"
    assert first == 5_001


def test_a_hooks_failed_task_is_found_and_a_good_recap_is_not() -> None:
    text = 'TASK [x] ***\nfatal: [localhost]: FAILED! => {"msg": "no"}\nhost : ok=1 changed=0 unreachable=0 failed=0\n'
    assert decisive_lines(text)[1] == ("TASK [x] ***", 'fatal: [localhost]: FAILED! => {"msg": "no"}')


def test_repeats_are_folded_whatever_their_time_stamps() -> None:
    text = "\n".join(f"E0918 07:40:{number:02}.690340       1 a.go:1] disk is gone" for number in range(17))
    assert decisive_lines(text)[1] == ("E0918 07:40:00.690340       1 a.go:1] disk is gone (repeated 17 times)",)


def test_colours_control_and_direction_characters_are_removed() -> None:
    assert decisive_lines("\x1b[31mfatal error: x\x1b[0m\x07\u202e\n")[1] == ("fatal error: x",)
    assert clean("10%\r20%\r100%\nnext\r\nlast") == "100%\nnext\nlast"


def test_a_long_line_is_cut_and_says_so() -> None:
    (line,) = decisive_lines("error " + "x" * 1_000)[1]
    assert line == "error " + "x" * (LINE_LIMIT - 6) + "… (706 more characters)"


def test_a_log_without_errors_gives_its_end() -> None:
    assert decisive_lines("one\ntwo\n\nthree\nfour\nfive\nsix\n") == (2, ("two", "three", "four", "five", "six"))


@pytest.mark.parametrize("text", ["", "\n\n", "\x00\x1b[0m"])
def test_an_empty_log_gives_nothing(text: str) -> None:
    assert decisive_lines(text) == (0, ())


def test_the_last_errors_win_where_there_are_too_many() -> None:
    text = "\n".join(f"E0918 07:40:57.690340 1 a.go:1] error number {number} x" for number in range(100))
    lines = decisive_lines(text, limit=3)[1]
    assert [line.split("number ")[1] for line in lines] == ["97 x", "98 x", "99 x"]


@given(st.text(), st.integers(1, 20))
def test_any_text_gives_at_most_the_limit_and_no_line_breaks(text: str, limit: int) -> None:
    first, lines = decisive_lines(text, limit)
    assert len(lines) <= limit
    assert bool(first) == bool(lines)
    assert all("\n" not in line and "\x1b" not in line for line in lines)
