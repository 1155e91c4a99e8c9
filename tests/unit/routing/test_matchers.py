from __future__ import annotations

import fnmatch
import random
import subprocess
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.routing.matchers import (
    Matcher,
    MatcherError,
    parse_glob,
    parse_matcher,
    parse_matchers,
    parse_matchers_with_warning,
)
from receiver.routing.syntax import parse_classic
from tests.servers import need

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# --- what a matcher means -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('severity="critical"', "critical", True),
        ('severity="critical"', "Critical", False),
        ('severity!="critical"', "warning", True),
        ('severity=~"crit|warn"', "warn", True),
        ('severity=~"crit|warn"', "warning", False),
        ('severity=~"crit"', "acrit", False),
        ('severity=~"(?i)CRIT.*"', "critical", True),
        ('severity!~"crit.*"', "critical", False),
        ('severity=~"a.b"', "a\nb", False),
        ('severity=~"(?s)a.b"', "a\nb", True),
        ('severity=~"a"', "a\n", False),
        ('severity=~"é+"', "éé", True),
    ],
)
def test_a_value_is_judged_as_alertmanager_does(text: str, value: str, expected: bool) -> None:
    assert parse_matcher(text).matches({"severity": value}) is expected


@pytest.mark.parametrize("text", ['team=""', 'team!~".+"', 'team=~".*"', 'team!="x"'])
def test_a_missing_label_counts_as_the_empty_string(text: str) -> None:
    matcher = parse_matcher(text)

    assert matcher.matches({})
    assert matcher.matches({"team": ""})


def test_a_pattern_that_is_slow_elsewhere_is_judged_in_linear_time() -> None:
    assert not parse_matcher('x=~"(a+)+b"').matches({"x": "a" * 50_000})


def test_a_value_that_is_no_valid_unicode_does_not_stop_routing() -> None:
    assert not parse_matcher('x=~"a+"').matches({"x": "a\ud800"})
    assert parse_matcher('x=~"a."').matches({"x": "a\ud800"})


def test_matchers_are_frozen_and_equal_by_what_they_say() -> None:
    matcher = parse_matcher('a=~"b.*"')

    assert matcher == Matcher("a", "=~", "b.*")
    assert hash(matcher) == hash(Matcher("a", "=~", "b.*"))
    with pytest.raises(FrozenInstanceError):
        matcher.value = "c"  # type: ignore[misc]


# --- notation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Both parsers agree.
        ("", ()),
        ("{}", ()),
        ("foo=bar", (("foo", "=", "bar"),)),
        ('{foo="bar", baz!~"quux.*"}', (("foo", "=", "bar"), ("baz", "!~", "quux.*"))),
        ('{foo = "bar", dings != "bums", }', (("foo", "=", "bar"), ("dings", "!=", "bums"))),
        ('foo="bar,quux",job="}"', (("foo", "=", "bar,quux"), ("job", "=", "}"))),
        (r'foo="say \"hi\"\n\\"', (("foo", "=", 'say "hi"\n\\'),)),
        ("foo!=🙂", (("foo", "!=", "🙂"),)),
        ("foo=~.+", (("foo", "=~", ".+"),)),
        # Only the UTF-8 parser takes these.
        ("name-with-dashes=bar", (("name-with-dashes", "=", "bar"),)),
        ('"namn på 🙂"="x"', (("namn på 🙂", "=", "x"),)),
        (r'"caf\u00e9"="\x61\142\U0001F642\t"', (("café", "=", "ab🙂\t"),)),
        (r'"caf\xc3\xa9"="x"', (("café", "=", "x"),)),
    ],
)
def test_what_the_utf8_parser_decides_has_no_warning(text: str, expected: tuple[tuple[str, str, str], ...]) -> None:
    assert parse_matchers_with_warning(text) == (tuple(Matcher(*parts) for parts in expected), None)


@pytest.mark.parametrize(
    ("text", "expected", "suggestion"),
    [
        ("foo=", ("foo", "=", ""), 'foo=""'),
        ("foo=bar baz", ("foo", "=", "bar baz"), 'foo="bar baz"'),
        ("tricky=~~~", ("tricky", "=~", "~~"), 'tricky=~"~~"'),
        (r"trickier==\\=\=\"", ("trickier", "=", '=\\=\\="'), r'trickier="=\\=\\=\""'),
        (r'host=~"web\d+"', ("host", "=~", r"web\d+"), r'host=~"web\\d+"'),
        ("{foo='}", ("foo", "=", "'"), 'foo="\'"'),
        ("{foo=bar", ("foo", "=", "bar"), 'foo="bar"'),
        ("{foo=bar}}", ("foo", "=", "bar}"), 'foo="bar}"'),
        ("foo=bar\\", ("foo", "=", "bar\\"), r'foo="bar\\"'),
        ('foo="a\nb"', ("foo", "=", "a\nb"), r'foo="a\nb"'),
        # The UTF-8 parser would understand a pattern that RE2 refuses; the classic one reads another, good one.
        (r'foo=~"a\x28"', ("foo", "=~", r"a\x28"), r'foo=~"a\\x28"'),
    ],
)
def test_the_classic_parser_decides_where_the_utf8_parser_fails(
    text: str, expected: tuple[str, str, str], suggestion: str
) -> None:
    matchers, warning = parse_matchers_with_warning(text)

    assert matchers == (Matcher(*expected),)
    assert warning is not None
    assert "UTF-8 parser refuses" in warning
    assert warning.endswith(f"write {suggestion}")
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'foo="a\tb"', ("foo", "=", r"a\tb")),
        (r'foo="\x41"', ("foo", "=", r"\x41")),
        ("{foo=bar} ", ("foo", "=", "bar}")),
    ],
)
def test_the_classic_parser_decides_where_the_two_disagree(text: str, expected: tuple[str, str, str]) -> None:
    matchers, warning = parse_matchers_with_warning(text)

    assert matchers == (Matcher(*expected),)
    assert warning is not None
    assert "differently" in warning
    assert parse_matchers_with_warning(warning.split("write ", 1)[1]) == (matchers, None)


@pytest.mark.parametrize("text", ["{foo=bar}", "foo=bar}", "a=b,c=", "", "a-b=1,c-d=2"])
def test_a_single_matcher_is_exactly_one_without_braces(text: str) -> None:
    if text == "a=b,c=":  # the classic parser alone takes it, as one bare value: so does Alertmanager
        assert parse_matcher(text) == Matcher("a", "=", "b,c=")
    else:
        with pytest.raises(MatcherError):
            parse_matcher(text)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(["=", "!="]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
def test_a_printed_matcher_is_read_back_as_itself_without_a_warning(name: str, op: str, value: str) -> None:
    matcher = Matcher(name, op, value)

    assert parse_matchers_with_warning(str(matcher)) == ((matcher,), None)


@pytest.mark.parametrize(
    ("matcher", "printed"),
    [
        (Matcher("a_b", "=~", r"web\d+"), r'a_b=~"web\\d+"'),
        (Matcher("a", "!=", 'x"y\nz'), r'a!="x\"y\nz"'),
        (Matcher("a-b", "=", ""), '"a-b"=""'),
    ],
)
def test_matchers_print_as_alertmanager_writes_them(matcher: Matcher, printed: str) -> None:
    assert str(matcher) == printed


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("severity", 8, ["expected =, !=, =~ or !~", 'name="value"']),
        ('foo="bar" baz="x"', 10, ["expected a comma", "double quotes"]),
        ('foo="bar', 4, ["never closed", 'missing "']),
        ('foo-bar="x', 8, ["never closed"]),
        ("{,}", 1, ["expected a label name"]),
        ("foo-bar=", 8, ["expected a value", '""']),
        ("foo-bar=x}", 9, ["without {"]),
        ("{foo-bar=x", 10, ["never closed", "add }"]),
        ("{foo-bar=x} y", 12, ["expected the end"]),
        ("a-b=x'y", 5, ["unexpected", "double quotes"]),
        (r'a-b="\d"', 5, ["unknown escape", r"\\d"]),
        (r'a-b="\ud800"', 5, ["no character"]),
        (r'a-b="\UFFFFFFFF"', 5, ["no character"]),
        (r'a-b="\xff"', 4, ["UTF-8"]),
        ('a="\ud800"', 3, ["surrogate"]),
        ('""="x"', 3, ["empty label name"]),
        ('foo=~"a(?=b)"', 5, ["look-around", "second matcher"]),
        ("a=b, foo=~^(?!bar).*$", 10, ["look-around", "second matcher"]),
        (r'foo=~"(a)\\1"', 5, ["back-reference", "alternatives"]),
        ('foo=~"invalid[regexp"', 5, ["missing ]: [regexp):", "correct it"]),
        ('foo=~"*"', 5, ["no argument for repetition"]),
    ],
)
def test_a_mistake_names_its_place_and_the_cure_in_one_line(text: str, position: int, words: list[str]) -> None:
    with pytest.raises(MatcherError) as caught:
        parse_matchers(text)

    assert caught.value.position == position
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(MatcherError, match="unknown operator"):
        Matcher("a", "==", "b")


# --- globs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("payments-*", "payments-prod", True),
        ("payments-*", "payments-", True),
        ("payments-*", "my-payments-prod", False),
        ("payments", "payments-prod", False),
        ("team-?", "team-a", True),
        ("team-?", "team-ab", False),
        ("team-[ab]", "team-b", True),
        ("team-[!ab]", "team-b", False),
        ("team-[^ab]", "team-c", True),
        ("team-[0-9]", "team-7", True),
        ("Payments", "payments", False),
        ("a.c", "abc", False),
        ("#mig-*", "#mig-1", True),
        ("[]-]", "]", True),
        ("*", "anything\nat all", True),
    ],
)
def test_a_glob_judges_the_whole_name(pattern: str, value: str, expected: bool) -> None:
    assert parse_glob(pattern).matches(value) is expected


@given(st.text("*?[]!a-", min_size=1, max_size=8))
def test_no_glob_matches_the_unknown_namespace(pattern: str) -> None:
    try:
        glob = parse_glob(pattern)
    except MatcherError:
        return
    assert not glob.matches("")


def test_many_stars_are_judged_in_linear_time() -> None:
    assert not parse_glob("*a" * 200 + "b").matches("a" * 20_000)


@given(
    st.lists(st.sampled_from(["*", "?", "[a-c]", "[!a]", "[]x]", "a", "b", ".", "\\", "\n", "é"]), min_size=1),
    st.text("ab.]\\\né"),
)
def test_globs_agree_with_the_standard_library_except_on_the_empty_name(parts: list[str], value: str) -> None:
    pattern = "".join(parts)

    assert parse_glob(pattern).matches(value) is (value != "" and fnmatch.fnmatchcase(value, pattern))


@pytest.mark.parametrize(
    ("pattern", "position", "words"),
    [("", 0, "empty glob"), ("team-[ab", 5, "close the set"), ("a[]", 1, "close the set"), ("a[z-b]", 2, "write b-z")],
)
def test_a_broken_glob_names_its_place_and_the_cure(pattern: str, position: int, words: str) -> None:
    with pytest.raises(MatcherError, match=words) as caught:
        parse_glob(pattern)

    assert caught.value.position == position


# --- against the real amtool ----------------------------------------------------------------------------------------

# Debian 12 ships amtool 0.25, which has the classic parser alone; newer ones have both. What both of ours refuse, every
# version refuses, and what the classic one accepts is read its way by every version.
_LABEL_SETS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"foo": "bar"},
    {"foo": "a\nb", "bar": "x"},
    {"foo": 'quo"te', "bar": "back\\slash"},
    {"foo": "bar,baz", "bar": "web12", "_x:y": "é"},
    {"foo": "BAR", "bar": "}", "_x:y": "~~"},
    {"foo": "5", "bar": "bar baz", "_x:y": "a"},
)
_NAMES: Final = ("foo", "bar", "_x:y")
_PLAIN: Final = ("bar", "", "5", "bar baz", "}", "~~", "é", "bar,baz", "=", "'", "web12", "back\\slash", "a\\nb", '\\"')
_PATTERNS: Final = (
    ".+", ".*", "", "bar|baz", "b.r", "(?i)bar", "[a-z]+", r"web\d+", r"web\\d+", "a.b", "(?s)a.b", "^bar$", "[^a]*",
    "(ba)(r)", "b{1,2}ar", r"\w+", r"\pL+", "a|", "bar)|(?:x", "[[:alpha:]]+", r"\Qbar\E", "(?P<n>bar)", r"\bbar\b",
    # refused by RE2
    "(?=a)", "[", "*", "a{1001}", r"(a)\1", "(", ")", "a**", r"\8", "(?P<n", "x{2}{3}{1000}",
)  # fmt: skip
_BROKEN: Final = (
    "foo", "=bar", "foo:bar", "foo==\"x\"", "foo=\"x", "foo=x\"", "foo=\"x\"y", "{,}", ",foo=x", "foo=x,,bar=y",
    " {foo=bar}", "{{foo=bar}", "1foo=bar", "foo-bar=x", "fo\u00e9=x", "foo~x", "\"foo\"=\"x\"", "foo=\"a\"b\"",
)  # fmt: skip


def _written(chance: random.Random) -> str:
    """One text an admin could write: blanks, quotes, braces and several matchers included."""

    def one() -> str:
        op = chance.choice(("=", "!=", "=~", "!~"))
        value = chance.choice(_PATTERNS if "~" in op else _PLAIN)
        if chance.random() < 0.6:
            value = f'"{value}"'
        blank = chance.choice(("", "", " "))
        return f"{chance.choice(_NAMES)}{blank}{op}{blank}{value}"

    text = chance.choice((",", ", ", " , ")).join(one() for _ in range(chance.choice((1, 1, 1, 2, 3))))
    return chance.choice(("{}", "{}", "{}", "{{{}}}", "{},", "{{ {} , }}", "{}}}", "{{{}", "{} ")).format(text)


def _corpus() -> list[str]:
    chance = random.Random(20_250_923)
    return sorted({_written(chance) for _ in range(400)} | set(_BROKEN))


def _accepts(parser: Callable[[str], object], text: str) -> bool:
    try:
        parser(text)
    except MatcherError:
        return False
    return True


def _classic(text: str) -> tuple[Matcher, ...]:
    return tuple(Matcher(parsed.name, parsed.op, parsed.value) for parsed in parse_classic(text))


def _configuration(texts: list[str]) -> str:
    """One route per text, all with continue, so that one call judges a label set against all of them."""
    names = [f"r{number}" for number in range(len(texts))]
    routes = [{"receiver": name, "continue": True, "matchers": [text]} for name, text in zip(names, texts, strict=True)]
    receivers = [{"name": name} for name in ("root", *names)]
    return yaml.safe_dump({"route": {"receiver": "root", "routes": routes}, "receivers": receivers})


def _amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [need("amtool", "prometheus-alertmanager"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def _refuses(text: str, folder: Path) -> bool:
    file = folder / "alertmanager.yml"
    file.write_text(_configuration([text]), encoding="utf-8")
    return _amtool("check-config", str(file)).returncode != 0


def test_what_we_refuse_amtool_refuses_too(tmp_path: Path) -> None:
    refused = [text for text in _corpus() if not _accepts(parse_matchers, text)]

    assert len(refused) > 50
    assert [text for text in refused[:140] if not _refuses(text, tmp_path)] == []


def test_what_we_accept_amtool_accepts_with_the_same_verdict_for_every_label_set(tmp_path: Path) -> None:
    accepted = [text for text in _corpus() if _accepts(_classic, text)]
    file = tmp_path / "alertmanager.yml"
    file.write_text(_configuration(accepted), encoding="utf-8")
    differences = []

    for labels in _LABEL_SETS:
        arguments = [str(Matcher(name, "=", value)) for name, value in labels.items()]
        answer = _amtool("config", "routes", "test", f"--config.file={file}", *arguments)
        assert answer.returncode == 0, answer.stderr
        matched = set(answer.stdout.strip().split(","))
        for number, text in enumerate(accepted):
            ours = all(matcher.matches(labels) for matcher in parse_matchers(text))
            if ours is not (f"r{number}" in matched):
                differences.append((text, labels, ours))

    assert len(accepted) > 150
    assert differences == []
