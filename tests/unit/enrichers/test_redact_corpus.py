"""The corpus of tests/data/redaction: planted secrets are hidden, and what only looks like one comes through.

A new form of secret is a new record there, with the secret between ⟦ and ⟧.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from receiver.enrichers.redact import HIDDEN, Redactor

FOLDER = Path(__file__).parents[2] / "data" / "redaction"
RECORD = re.compile(r"^[a-z0-9-]+: \|-$", re.MULTILINE)
SECRET = re.compile(r"⟦(.+?)⟧", re.DOTALL)
REDACTOR = Redactor()


def _mark(kind: str, end: str) -> str:
    return f"-----{end} {kind}PRIVATE " + "KEY-----"


def _parts() -> dict[str, str]:
    """Return the values that a scanner would take for real ones, put together here."""
    body = "MIIEvFAKE" + "FakeFakeFakeFakeFakeFake0123456789+/FakeFakeFakeFakeFak"
    fake = "Fake" * 12
    found = {
        "JWT": ".".join(("eyJhbGciOiJub25lIn0", "eyJzdWIiOiJmYWtlIiwiaXNzIjoiZmFrZSJ9", "ZmFrZS1zaWduYXR1cmU")),
        "JWT_CUT": "eyJhbGciOiJub25lIn0" + ".eyJzdWIiOiJmYWtl",
        "KEY_BODY": body,
        "KEY_LAST": "FakeLastLine" + "01==",
        "AWS_ID": "AKIA" + "FAKEFAKEFAKE0000",
        "AWS_TEMP": "ASIA" + "FAKEFAKEFAKE0000",
        "AWS_SECRET": "Fake/" + fake[:35],
        "AZURE": fake + fake[:38] + "==",
        "SLACK_HOOK": "T00FAKE00/B00FAKE00/" + fake[:24],
        "SLACK_BOT": "xox" + "b-000000000000-" + fake[:24],
        "SLACK_APP": "xap" + "p-1-A00FAKE-0000000000-fa4efa4e",
        "SLACK_ROTATED": "xox" + "e.xox" + "p-1-" + fake[:30],
        "GITHUB": "gh" + "p_" + fake[:36],
        "GITHUB_FINE": "github" + "_pat_" + fake[:40],
        "GITLAB": "glp" + "at-" + fake[:20],
        "GOOGLE": "AI" + "za" + fake[:35],
        "GOOGLE_OAUTH": "ya" + "29." + fake[:40],
        "ATLASSIAN": "ATA" + "TT3x" + fake[:40] + "=00FA4E00",
        "NPM": "np" + "m_" + fake[:36],
        "STRIPE": "sk" + "_live_" + fake[:24],
        "SENDGRID": "SG" + "." + fake[:22] + "." + fake[:43],
        "OPENAI": "sk-" + "proj-" + fake[:40],
        "HUGGINGFACE": "hf" + "_" + fake[:34],
        "DIGITALOCEAN": "dop" + "_v1_" + "00fa4e" * 10 + "0000",
        "PYPI": "pypi-" + "AgEIcHlwaS5vcmc" + fake[:40],
        "TELEGRAM": "AA" + fake[:33],
        "AGE": "AGE-SECRET-" + "KEY-1" + "FAKE" * 14,
        "BITLOCKER": "-".join(f"{n}23456" for n in range(1, 9)),
        "BEGIN_PGP": _mark("PGP ", "BEGIN")[:-5] + " BLOCK-----",
        "END_PGP": _mark("PGP ", "END")[:-5] + " BLOCK-----",
    }
    for name, kind in (("", ""), ("_RSA", "RSA "), ("_EC", "EC "), ("_OPENSSH", "OPENSSH ")):
        found["BEGIN" + name], found["END" + name] = _mark(kind, "BEGIN"), _mark(kind, "END")
    pem = f"{found['BEGIN']}\n{body}\n{found['END']}\n"
    return {**found, "PEM_BASE64": base64.b64encode(pem.encode()).decode()}


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    text: str
    secrets: tuple[str, ...]


def records(name: str) -> list[Record]:
    """Return the records of a file of the corpus; two of one name are a mistake in it."""
    raw = (FOLDER / name).read_text(encoding="utf-8")
    whole: dict[str, str] = {str(key): value for key, value in yaml.load(raw, yaml.BaseLoader).items()}
    assert len(whole) == len(RECORD.findall(raw)), "two records have one name"
    parts = _parts()
    made = {key: re.sub(r"@\{([A-Z0-9_]+)\}", lambda found: parts[found[1]], text) for key, text in whole.items()}
    return [
        Record(key, SECRET.sub(lambda found: found[1], text), tuple(SECRET.findall(text))) for key, text in made.items()
    ]


SECRETS, HARMLESS = records("secrets.yaml"), records("harmless.yaml")


def left_over(record: Record) -> list[str]:
    """Return what of the record's secrets a reader still sees: the whole, or a piece of five characters or more."""
    shown = REDACTOR.text(record.text)[0]
    around = SECRET.sub("", record.text)
    for secret in record.secrets:
        around = around.replace(secret, "")
    pieces = {secret[at : at + 5] for secret in record.secrets for at in range(max(len(secret) - 4, 1))}
    return sorted(piece for piece in pieces if piece in shown and piece not in around)


@pytest.mark.parametrize("record", SECRETS, ids=lambda record: record.name)
def test_nothing_of_a_planted_secret_is_left_over(record: Record) -> None:
    assert record.secrets, "a record of this file marks its secret"
    assert left_over(record) == []


@pytest.mark.parametrize("record", HARMLESS, ids=lambda record: record.name)
def test_what_only_looks_like_a_secret_comes_through(record: Record) -> None:
    assert REDACTOR.text(record.text) == (record.text, 0)


@pytest.mark.parametrize("record", SECRETS, ids=lambda record: record.name)
def test_each_hidden_secret_is_counted_and_a_second_time_finds_none(record: Record) -> None:
    once, hidden = REDACTOR.text(record.text)
    assert hidden >= 1
    assert HIDDEN in once
    assert REDACTOR.text(once) == (once, 0)


@pytest.mark.parametrize("record", SECRETS, ids=lambda record: record.name)
def test_what_stands_outside_of_keys_keeps_its_lines(record: Record) -> None:
    assert REDACTOR.text(record.text)[0].count("\n") == record.text.count("\n")


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(SECRETS) >= 150
    assert len(HARMLESS) >= 100
