"""A template costs a bounded amount of work whatever it says, and what breaks becomes the plain message."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import jinja2
import pytest

from receiver.rendering.bounds import MAX_VALUE, Budget
from receiver.rendering.plain import plain
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates, environment
from tests import other_stories, stories

ENV = environment([])
DOUBLED = "{% set n = namespace(x='0123456789') %}{% for i in range(60) %}{% set n.x = "
GREEDY = {
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "a huge range": "{% for a in range(100000000) %}{% endfor %}",
    "text times a number": "{{ 'x' * 100000000 }}",
    "a list times a number": "{{ [1] * 100000000 }}",
    "text joined to itself": DOUBLED + "n.x ~ n.x %}{% endfor %}",
    "text added to itself": DOUBLED + "n.x + n.x %}{% endfor %}",
    "a list in a list": DOUBLED + "[n.x, n.x] %}{% endfor %}{{ n.x ~ '' }}",
    "a tuple in a tuple": DOUBLED + "(n.x, n.x) %}{% endfor %}{{ n.x ~ '' }}",
    "a mapping in a mapping": DOUBLED + "{'a': n.x, 'b': n.x} %}{% endfor %}{{ n.x ~ '' }}",
    "a helper's list in itself": DOUBLED + "list(n.x, n.x) %}{% endfor %}{{ n.x ~ '' }}",
    "a block that prints itself": DOUBLED.replace("{% set n.x = ", "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}")
    + "{% endfor %}",
    "numbers of any length": DOUBLED.replace("'0123456789'", "9") + "n.x * n.x %}{% endfor %}",
    "powers": "{{ 10 ** 1000 }}",
    "a wide format": "{{ '%0999999999d' | format(1) }}",
    "a format of any width": "{{ '%*d' | format(999999999, 1) }}",
    "a format by sign": "{{ '%0999999999d' % 1 }}",
    "a method that formats": "{{ '{:>999999999}'.format(1) }}",
    "a method that pads": "{{ 'x'.center(999999999) }}",
    "a filter that pads": "{{ 'x' | center(999999999) }}",
    "a filter that indents": "{{ 'x\\ny' | indent(999999999) }}",
    "replacing with much": "{{ text | replace('', text) }}",
    "joining with much": "{{ range(9999) | join(text) }}",
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
    "{{ m(60) }}",
    "much text in a loop": "{% set a %}{% for i in range(9999) %}" + "x" * 20_000 + "{% endfor %}{% endset %}",
    "a regular expression over and over": "{% for i in range(9999) %}{% if text | match('(x+x+)+y') %}{% endif %}"
    "{% endfor %}",
}


def _run(source: str) -> str:
    with Budget():
        return "".join(ENV.from_string(source).generate({"text": "x" * 50_000}))


@pytest.mark.parametrize("source", GREEDY.values(), ids=GREEDY.keys())
def test_a_greedy_template_is_stopped_before_it_has_taken_much(source: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((jinja2.TemplateError, RecursionError, OverflowError)):
            _run(source)
        assert tracemalloc.get_traced_memory()[1] < 64 * MAX_VALUE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "source",
    [
        "{% for vm in range(40) %}{% for task in range(4) %}{{ vm }}-{{ task }} {% endfor %}{% endfor %}",
        "{{ '%-8s %5d' | format('done', 118) }}",
        "{{ [1, 2, 3] | map('string') | join(', ') }}",
        "{% macro row(a) %}| {{ a }} |{% endmacro %}{{ row('x') }}{{ row('y') }}",
        "{{ {'a': 1}.items() | list }}",
        "{{ 3 * 4 + 2 }} {{ 'a' + 'b' }} {{ ['a'] + ['b'] }}",
        "{{ 'x' | center(20) }}",
        "{% for a in ['x', 'y'] %}{{ loop.index }} of {{ loop.length }}{% if not loop.last %}, {% endif %}{% endfor %}",
    ],
)
def test_what_a_message_needs_is_not_in_the_way_of_it(source: str) -> None:
    assert _run(source)


@pytest.mark.parametrize("part", ["title", "push", "summary", "body"])
@pytest.mark.parametrize("name", ["nested loops", "text joined to itself", "a wide format"])
def test_a_greedy_part_falls_back_to_the_plain_message_and_is_counted(tmp_path: Path, part: str, name: str) -> None:
    (tmp_path / "firing").mkdir()
    (tmp_path / "firing" / f"{part}.j2").write_text(GREEDY[name])
    broken: list[str] = []
    wanted = stories.wanted(other_stories.bitlocker())

    message = StoryRenderer(Templates(tmp_path, samples=()), broken.append).root(wanted, "slack")

    assert message == plain(wanted, "slack")
    assert len(broken) == 1
    assert f"firing/{part}.j2" in broken[0]


def test_check_names_the_line_of_a_greedy_template(tmp_path: Path) -> None:
    (tmp_path / "firing").mkdir()
    file = tmp_path / "firing" / "body.j2"
    file.write_text("{{ name }}\n" + GREEDY["nested loops"])

    (found,) = Templates(tmp_path).problems

    assert str(found).startswith(f"{file}:2:1: works too long")
