"""A real browser that looks at our pages.

A test that takes `visit` (`tests.browser.chromium.Visitor`) runs in the browser's thread and fails on whatever the
browser complains about. Fixtures run outside that thread: they must not touch a page.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Desk, Visitor, desk_with_browser
from tests.browser.site import Site, serving


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    """Return the browser of all tests of this process."""
    with desk_with_browser() as one:
        yield one


@pytest.fixture(scope="session")
def site(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a service that runs, with a whole night in it; tests look and change nothing."""
    with serving(tmp_path_factory.mktemp("site")) as one:
        yield one


@pytest.fixture
def visit(desk: Desk, site: Site) -> Iterator[Visitor]:
    """Return what opens pages."""
    one = Visitor(desk, site)
    yield one
    desk.run(one.close)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test in the thread that has the browser, then say what was wrong with its pages."""
    visitor = pyfuncitem.funcargs.get("visit")
    if not isinstance(visitor, Visitor):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    def whole() -> None:
        pyfuncitem.obj(**wanted)
        visitor.judge()

    visitor.desk.run(whole)
    return True
