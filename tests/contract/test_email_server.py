"""Mail and its server: TLS, sign-in, refusals, probes and the settings that lead there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from receiver.errors import DeliveryError, DestinationRefused, Refused, Transient, Unknown
from tests.contract.examples import (
    KINDS,
    deliver,
    wanted,
)
from tests.contract.mails import PASSWORD, Made, make
from tests.fakes.smtp import CUT, CUT_AFTER, TLS_FILES, mail_server

pytestmark = pytest.mark.anyio
__all__ = ["make"]

# --- the server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tls", "raw"),
    [
        ("starttls", {}),
        ("implicit", {"force_implicit_tls": True}),
        ("none", {"require_tls": False}),
    ],
)
async def test_mail_is_handed_over_as_configured(tls: Any, raw: dict[str, Any], tmp_path: Path) -> None:
    async with mail_server(tls) as server:
        await deliver(Made(server, tmp_path)(raw), wanted())
        (kept,) = server.kept
        assert kept.secured is (tls != "none")
        assert (kept.sender, server.hello) == ("mtv@example.com", "mtv.example.com")
        assert [one for one in kept.options if one.startswith("SIZE=")]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_password_signs_in_behind_tls(tls: Any, tmp_path: Path) -> None:
    raw = {"auth_username": "mtv", "auth_password_file": PASSWORD, "force_implicit_tls": tls == "implicit"}
    users = {"mtv": PASSWORD}
    # aiosmtpd knows of TLS only what STARTTLS made.
    async with mail_server(tls, users) as server:
        make = Made(server, tmp_path)
        await make(raw).probe()
        assert server.kept == []
        await deliver(make(raw), wanted())
        assert server.kept[0].user == "mtv"
        with pytest.raises(DestinationRefused, match="the sign-in is refused: 535") as raised:
            await deliver(make({**raw, "auth_password_file": "wrong-planted"}), wanted())
        assert "planted" not in raised.value.reason
        with pytest.raises(DestinationRefused, match="530"):
            await deliver(make(), wanted()) if tls == "starttls" else await deliver(
                make({"force_implicit_tls": True}), wanted()
            )


async def test_no_password_and_no_mail_is_sent_to_a_server_that_has_lost_its_tls(tmp_path: Path) -> None:
    raw = {"auth_username": "mtv", "auth_password_file": PASSWORD}
    async with mail_server("none") as server:
        with pytest.raises(DestinationRefused, match="STARTTLS"):
            await deliver(Made(server, tmp_path)(raw), wanted())
        assert server.kept == []


@pytest.mark.parametrize("raw", [{"tls_config": {}}, {"tls_config": {"ca_file": str(TLS_FILES / "ca.pem")}}])
async def test_a_server_that_cannot_prove_itself_gets_nothing(raw: dict[str, Any], make: Made) -> None:
    with pytest.raises(Transient, match="TLS: "):
        await deliver(make(raw), wanted())
    assert make.server.kept == []


async def test_a_missing_password_or_certificate_parks_and_connects_nowhere(make: Made) -> None:
    mails = make({"auth_username": "mtv", "auth_password_file": PASSWORD})
    (make.folder / "auth_password_file").unlink()
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await deliver(mails, wanted())
    with pytest.raises(DestinationRefused, match=r"ca_file \S+ cannot be read"):
        await deliver(make({"tls_config": {"ca_file": "none.pem"}}), wanted())
    assert make.server.connections == 0


REFUSALS: tuple[tuple[str, str, type[DeliveryError]], ...] = (
    ("mail", "550 5.7.1 sender not allowed", DestinationRefused),
    ("mail", "530 5.7.0 sign in first", DestinationRefused),
    ("mail", "552 5.3.4 too large", Refused),
    ("mail", "451 4.7.1 greylisted", Transient),
    ("mail", "421 4.3.2 closing", Transient),
    ("mail", CUT, Transient),
    ("rcpt", "550 5.1.1 unknown", DestinationRefused),
    ("rcpt", "450 4.2.0 busy", Transient),
    ("data", "554 5.7.1 looks like spam", Refused),
    ("data", "552 5.2.2 too large", Refused),
    ("data", "452 4.3.1 disk full", Transient),
    ("data", CUT, Unknown),
    ("data", CUT_AFTER, Unknown),
)


@pytest.mark.parametrize(
    ("phase", "said", "meaning"), REFUSALS, ids=lambda value: str(getattr(value, "__name__", value))
)
async def test_a_refusal_means_one_thing(phase: Any, said: str, meaning: type[DeliveryError], make: Made) -> None:
    make.server.answer(phase, said, *([said] if phase == "rcpt" else []))
    with pytest.raises(DeliveryError) as raised:
        await deliver(make(), wanted())
    assert type(raised.value) is meaning, raised.value.reason
    assert len(make.server.kept) == (said == CUT_AFTER)
    if said[0].isdigit():
        assert raised.value.status == int(said[:3])
        assert said in raised.value.reason


async def test_those_who_are_taken_are_told_though_others_are_refused(make: Made) -> None:
    make.server.refused["dba@example.com"] = "550 5.1.1 no such user"
    mails = make()
    steps, now = await deliver(mails, wanted())
    assert steps == ["create"]
    assert make.server.kept[0].to == ("ops@example.com",)
    assert now.root is not None
    assert now.root["refused"] == {"dba@example.com": "550 5.1.1 no such user"}


async def test_all_wait_a_little_for_one_who_is_refused_for_now_and_then_no_longer(make: Made) -> None:
    make.server.refused["dba@example.com"] = "451 4.7.1 greylisted"
    mails = make()
    for tries in range(3):
        with pytest.raises(Transient, match=r"dba@example\.com: 451"):
            await deliver(mails, replace(wanted(), tries=tries))
    assert make.server.kept == []
    await deliver(mails, replace(wanted(), tries=3))
    assert make.server.kept[0].to == ("ops@example.com",)


async def test_everybody_refused_for_now_is_tried_again_and_for_good_is_parked(make: Made) -> None:
    make.server.refused |= {"ops@example.com": "550 no such user", "dba@example.com": "450 busy"}
    with pytest.raises(Transient, match=r"dba@example\.com: 450"):
        await deliver(make(), wanted())
    make.server.refused["dba@example.com"] = "553 relaying denied"
    with pytest.raises(DestinationRefused, match="not every recipient is taken"):
        await deliver(make(), wanted())


async def test_nobody_there_is_a_matter_of_time(make: Made) -> None:
    mails = make({"smarthost": "127.0.0.1:1"})
    with pytest.raises(Transient, match="connection refused"):
        await deliver(mails, wanted())
    with pytest.raises(Transient):
        await mails.probe()


async def test_a_probe_sends_no_mail(make: Made) -> None:
    await make().probe()
    assert make.server.connections == 1
    assert make.server.kept == []
    make.server.answer("mail", "550 not you")
    with pytest.raises(DestinationRefused):
        await make().probe()


# --- settings -------------------------------------------------------------------------------------------------------

GOOD = {"to": "ops@example.com", "from": "mtv@example.com", "smarthost": "smtp.example.com:587"}


@pytest.mark.parametrize(
    ("raw", "cure"),
    [
        ({"to": ""}, "no mail address"),
        ({"to": "ops@example.com\r\nBcc: x@example.com"}, "no mail address"),
        ({"to": "öps@example.com"}, "no mail address"),
        ({"from": "a@example.com, b@example.com"}, "keep one"),
        ({"smarthost": "smtp.example.com"}, "write such as smtp.example.com:587"),
        ({"smarthost": "smtp.example.com:99999"}, "write such as"),
        ({"auth_username": "x"}, "give both or none"),
        ({"auth_username": "x", "auth_password_file": "f", "require_tls": False}, "would go in clear"),
        ({"headers": {"Subject": "x"}}, "Subject is a header of ours"),
        ({"headers": {"Bcc": "x@example.com"}}, "Bcc is a header of ours"),
        ({"headers": {"X-A": "x\nBcc: y"}}, "keep one line"),
        ({"headers": {"X A": "x"}}, "X A is a header of ours, or none"),
    ],
)
def test_what_cannot_work_is_refused_with_a_cure(raw: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValidationError, match=cure):
        KINDS["email"].settings.model_validate(GOOD | raw, context={"base": Path("conf")})


def test_a_destination_is_its_server_and_its_addresses_in_any_order() -> None:
    kind = KINDS["email"]

    def target(to: str) -> str:
        return kind.target(kind.settings.model_validate(GOOD | {"to": to}, context={"base": Path()}))

    assert target("b@example.com, Ann <a@example.com>") == target("a@example.com,b@example.com")
    assert target("a@example.com") == "smtp.example.com:587 a@example.com"


@pytest.mark.parametrize(
    ("raw", "implicit"),
    [
        ({"smarthost": "h:465"}, True),
        ({"smarthost": "h:587"}, False),
        ({"smarthost": "h:465", "require_tls": False}, False),
        ({"smarthost": "h:465", "force_implicit_tls": False}, False),
        ({"smarthost": "[::1]:2525", "force_implicit_tls": True}, True),
    ],
)
def test_tls_from_the_start_is_port_465_or_as_it_is_said(raw: dict[str, Any], implicit: bool) -> None:
    assert KINDS["email"].settings.model_validate(GOOD | raw, context={"base": Path()}).implicit_tls is implicit
