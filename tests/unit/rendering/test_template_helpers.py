"""Alertmanager's helper names: as functions in its order of arguments, and piped."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest

from receiver.rendering.bounds import Budget
from receiver.rendering.build import build
from receiver.rendering.context import NAMES
from receiver.rendering.helpers import filters, functions
from receiver.rendering.markup import line
from receiver.rendering.templates import Templates, environment, shipped_templates
from tests import other_stories, stories

ENV = environment([])
# Those of Alertmanager 0.34 and Prometheus' own that alert writers know, but for `now` and `routeLabels`.
ALERTMANAGER = {
    *("title", "toUpper", "toLower", "trimSpace", "join", "match", "safeHtml", "safeUrl", "urlUnescape"),
    *("reReplaceAll", "stringSlice", "date", "tz", "since", "humanizeDuration", "toJson", "dict", "list", "append"),
    *("toDate", "mustToDate", "base64encode", "base64decode"),
    *("humanize", "humanize1024", "humanizePercentage", "humanizeTimestamp"),
}
AT = {"at": "2026-11-21T22:19:05+00:00", "changed_at": "2026-11-22T05:41:05+00:00"}


def _run(source: str, **values: object) -> str:
    with Budget():
        return line("".join(ENV.from_string(source).generate({**AT, **values})))


def test_every_helper_of_alertmanager_is_there_as_a_function_and_those_with_a_value_as_a_filter() -> None:
    assert set(functions()) == ALERTMANAGER
    assert ALERTMANAGER - set(filters()) == {"stringSlice", "dict", "list"}
    assert set(functions()) & NAMES <= {"since"}, "a variable of that name would hide the function"


def test_the_readme_names_every_helper() -> None:
    text = (shipped_templates() / "README.md").read_text(encoding="utf-8").split("## Variables")[0]

    assert [name for name in sorted(ALERTMANAGER) if f"`{name}" not in text] == []


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("{{ title('no space left') }}", "No Space Left"),
        ("{{ 'a b' | title }}", "A B"),
        ("{{ toUpper('ab') }} {{ toLower('AB') }} {{ 'Ab' | toUpper | toLower }}", "AB ab ab"),
        ("{{ trimSpace('  a ') }}|{{ '  a ' | trimSpace }}|", "a|a|"),
        ("{{ join(', ', ['a', 'b']) }} {{ ['a', 'b'] | join('+') }} {{ ['a', 'b'] | join }}", "a, b a+b ab"),
        ("{{ match('^a', 'abc') }} {{ 'abc' | match('^b') }}", "True False"),
        ("{{ reReplaceAll('(a)(b)', '$2${1}', 'abc') }} {{ 'abc' | reReplaceAll('b', '-') }}", "bac a-c"),
        ("{{ safeHtml('<b>') }} {{ '<!channel>' | safeHtml }} {{ safeUrl('https://x/<y>') }}",
         "<b> <!channel> https://x/<y>"),
        ("{{ urlUnescape('a%20b+c') }}", "a b c"),
        ("{{ stringSlice('a', 'b') | join('/') }}", "a/b"),
        ("{{ date('2006-01-02 15:04:05', at) }}", "2026-11-21 22:19:05"),
        ("{{ at | date('Mon 2 Jan 06, 3:04 PM MST -07:00') }}", "Sat 21 Nov 26, 10:19 PM UTC +00:00"),
        ("{{ at | tz('America/New_York') | date('Monday 15:04 -0700') }}", "Saturday 17:19 -0500"),
        ("{{ tz('Asia/Kolkata', at) | date('15:04 MST') }}", "03:49 IST"),
        ("{{ '' | tz('Europe/Berlin') | date('15:04') }}none", "none"),
        ("{{ since(at) | humanizeDuration }} {{ at | since }}", "7 h 22 min 26520.0"),
        ("{{ toDate('2006-01-02', '2026-11-21') | date('02.01.2006') }}", "21.11.2026"),
        ("{{ mustToDate('2006-01-02', '2026-11-21') | date('Jan _2') }}", "Nov 21"),
        ("{{ humanizeDuration(26520) }} {{ 45 | humanizeDuration }}", "7 h 22 min 45 s"),
        ("{{ humanize(1234567) }} {{ 0.0021 | humanize }} {{ 12 | humanize }} {{ 0 | humanize }}", "1.235M 2.1m 12 0"),
        ("{{ humanize1024(85899345920) }} {{ 1536 | humanize1024 }} {{ 1 | humanize1024 }}", "80Gi 1.5ki 1"),
        ("{{ humanizePercentage(0.8765) }}", "87.65%"),
        ("{{ humanizeTimestamp(1795299545) }}", "2026-11-21 22:19:05 +0000 UTC"),
        ("{{ toJson({'a': [1, 'é', none]}) }}", '{"a":[1,"é",null]}'),
        ("{{ dict('a', 1, 'b', 2)['b'] }} {{ dict(a=3)['a'] }}", "2 3"),
        ("{{ list(1, 2) | append(3) | join(' ') }} {{ append([1], 2, 3) | join(' ') }}", "1 2 3 1 2 3"),
        ("{{ base64encode('a?>') }} {{ 'YT8-' | base64decode }}", "YT8- a?>"),
    ],
)  # fmt: skip
def test_a_helper_does_what_its_name_promises(source: str, result: str) -> None:
    assert _run(source) == result


def test_the_variables_as_json_are_json() -> None:
    context = build(stories.wanted(other_stories.bitlocker()), "slack", "full")

    vms = json.loads(_run("{{ vms | toJson }}", vms=context.vms))

    assert [one["name"] for one in vms] == [one.name for one in context.vms]


@pytest.mark.parametrize(
    "source",
    ["{{ 'x' | match('(') }}", "{{ at | tz('No/Where') }}", "{{ 'soon' | date('15:04') }}", "{{ 'x' | humanize }}",
     "{{ dict('a') }}", "{{ mustToDate('2006', 'x') }}", "{{ at | date }}"],
)  # fmt: skip
def test_a_helper_that_cannot_is_an_error_and_not_a_wrong_word(tmp_path: Path, source: str) -> None:
    (tmp_path / "firing").mkdir()
    (tmp_path / "firing" / "title.j2").write_text(source)

    assert [problem.line for problem in Templates(tmp_path).problems] == [1]


def test_no_template_reads_a_clock() -> None:
    for name in ("now", "time", "today"):
        with pytest.raises(jinja2.UndefinedError):
            _run("{{ " + name + "() }}")
