"""Debian's Chromium, driven from a thread of its own, and what is asked of a page."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.browser.site import Site
from tests.servers import need

AXE = Path(__file__).parents[2] / ".cache" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
# Without the ones about the network Chromium asks its maker's hosts for this and that.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
MOST_TABS = 400
T = TypeVar("T")

# Chromium reports a violation to the console, too; but not of a policy that is only reported, and not under a name.
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", event =>
  console.error(`Content-Security-Policy: ${event.effectiveDirective} forbids ${event.blockedURI}`))
"""
_FOCUSED = """() => {
  const one = document.activeElement
  if (!one || one === document.body || one === document.documentElement) return null
  const style = getComputedStyle(one), box = one.getBoundingClientRect()
  const line = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0
  return {
    number: [...document.querySelectorAll("*")].indexOf(one),
    tag: one.tagName.toLowerCase(),
    name: (one.getAttribute("aria-label") || one.innerText || one.getAttribute("name") || "").trim().slice(0, 80),
    outlined: line && !/^rgba\\(.*, 0\\)$/.test(style.outlineColor),
    shown: box.width > 0 && box.height > 0
      && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth,
  }
}"""
# Of a group of radio buttons Tab reaches the chosen one only.
_REACHABLE = """() => {
  const all = [...document.querySelectorAll("*")]
  const wanted = `a[href], button, summary, select, textarea, [tabindex],
    input:not([type=hidden], [type=radio]), input[type=radio]:checked`
  return [...document.querySelectorAll(wanted)]
    .filter(one => one.checkVisibility({visibilityProperty: true}) && !one.disabled && one.tabIndex >= 0)
    .filter(one => !one.closest("[inert]"))
    .map(one => [all.indexOf(one), `${one.tagName.toLowerCase()} ${(one.innerText || "").trim().slice(0, 60)}`])
}"""
_AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]})
  const grave = found.violations.filter(one => ["serious", "critical"].includes(one.impact))
  const say = (one, node) => `${one.id} (${one.impact}) at ${node.target.flat().join(" ")}: ${node.failureSummary}`
  return grave.flatMap(one => one.nodes.map(node => say(one, node)))
}"""


@dataclass(frozen=True)
class Variant:
    """How somebody looks at a page."""

    scheme: Literal["light", "dark"] = "light"
    size: Literal["phone", "desktop"] = "desktop"
    javascript: bool = True
    zone: str = "UTC"

    def __str__(self) -> str:
        return f"{self.size}-{self.scheme}" + ("" if self.javascript else "-noscript")

    def options(self) -> dict[str, Any]:
        """Return what a context of Playwright takes."""
        width, height = SIZES[self.size]
        phone = self.size == "phone"
        return {
            "viewport": {"width": width, "height": height},
            "device_scale_factor": 2 if phone else 1,
            "is_mobile": phone,
            "has_touch": phone,
            "color_scheme": self.scheme,
            "java_script_enabled": self.javascript,
            "reduced_motion": "reduce",
            "locale": "en-GB",
            "timezone_id": self.zone,
        }


VARIANTS = tuple(Variant(scheme, size) for scheme in ("light", "dark") for size in ("desktop", "phone"))


class Desk:
    """A thread that has the browser. Playwright's loop runs in it, so that other tests of this process have theirs.

    A page may be touched only there: see `run`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="browser")
        self._browser: Browser | None = None
        self._stop: Callable[[], None] = lambda: None

    def start(self, path: str) -> None:
        """Start a Chromium; its profile is new and empty."""

        def begin() -> None:
            playwright = sync_playwright().start()
            self._stop = playwright.stop
            self._browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS), headless=True)

        self.run(begin)

    def run(self, what: Callable[[], T]) -> T:
        """Do something in the thread; return what it returns, or raise what it raises."""
        return self._thread.submit(what).result()

    def context(self, variant: Variant, *, bypass_csp: bool = False) -> BrowserContext:
        """Open a context of its own: no cookies, nothing stored. Only in the thread."""
        assert self._browser is not None
        made = self._browser.new_context(**variant.options(), bypass_csp=bypass_csp)
        made.set_default_timeout(30_000)
        return made

    def close(self) -> None:
        """End the browser and the thread."""

        def end() -> None:
            if self._browser is not None:
                self._browser.close()
            self._stop()

        try:
            self.run(end)
        finally:
            self._thread.shutdown()


@dataclass
class Visitor:
    """Opens pages of a site and notes whatever is wrong with any of them. Only in the desk's thread.

        page = visit("/stories/…", Variant("dark", "phone"))

    A test that has it fails on a violation of the Content-Security-Policy, an error on the console, an uncaught error
    of a script, and a request to another origin.
    """

    desk: Desk
    site: Site
    wrong: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(
        self,
        path: str,
        variant: Variant = Variant(),
        *,
        status: int = 200,
        bypass_csp: bool = False,
    ) -> Page:
        """Open a page, which must answer with `status`, in a context of its own.

        `bypass_csp` is for `axe` alone, which is a script that our policy rightly forbids. What happens to a page
        without its policy (Chromium asks for an icon, for one) is not judged.
        """
        context = self.desk.context(variant, bypass_csp=bypass_csp)
        self._contexts.append(context)
        if not bypass_csp:
            self._watch(context, expected=f"{self.site.url}{path}" if status != 200 else "")
        page = context.new_page()
        response = page.goto(self.site.url + path, wait_until="load")
        assert response is not None
        assert response.status == status, f"{path}: {response.status}"
        return page

    def judge(self) -> None:
        """Raise AssertionError where something was wrong with a page."""
        for context in self._contexts:
            for page in context.pages:
                # What was said so far arrives before the answer to this.
                page.title()
        assert not self.wrong, "\n".join(self.wrong)

    def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()

    def _watch(self, context: BrowserContext, expected: str) -> None:
        context.add_init_script(_TELL_VIOLATIONS)
        context.on("console", lambda message: self._heard(message, expected))
        context.on("weberror", lambda error: self.wrong.append(f"uncaught: {error.error}"))
        context.on("request", self._asked)

    def _heard(self, message: ConsoleMessage, expected: str) -> None:
        if message.type == "error" and not (expected and message.location.get("url") == expected):
            self.wrong.append(f"console: {message.text} ({message.location.get('url')})")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.site.url}/", "data:", "blob:")):
            self.wrong.append(f"asks another origin: {request.url}")


@dataclass(frozen=True)
class Focused:
    """An element that had the focus; `number` is its place among all elements of the document."""

    number: int
    tag: str
    name: str
    outlined: bool
    shown: bool


def without(sentence: str) -> NoReturn:
    """Skip where there is no browser; with CI=true fail, so that a pipeline cannot pass by looking at nothing."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


@contextmanager
def desk_with_browser() -> Iterator[Desk]:
    """Run a browser until the end of the block."""
    path = need("chromium", "chromium")
    one = Desk()
    try:
        one.start(path)
        yield one
    finally:
        one.close()


@functools.cache
def _axe_source() -> str:
    if not AXE.exists():
        without("axe-core is not here: `make browser`, which needs npm")
    return AXE.read_text(encoding="utf-8")


def axe(page: Page) -> list[str]:
    """Return axe-core's serious and critical findings; the page must have been opened with `bypass_csp`."""
    page.evaluate(_axe_source())
    found: list[str] = page.evaluate(_AXE)
    return found


def keyboard_walk(page: Page) -> list[Focused]:
    """Press Tab through the page, once around; return what had the focus, in order."""
    seen: list[Focused] = []
    for _ in itertools.repeat(None, MOST_TABS):
        page.keyboard.press("Tab")
        found = page.evaluate(_FOCUSED)
        if found is None or (seen and found["number"] == seen[0].number):
            return seen
        seen.append(Focused(**found))
    raise AssertionError(f"the focus does not come around within {MOST_TABS} steps: {seen[-3:]}")


def reachable(page: Page) -> dict[int, str]:
    """Return the elements that a keyboard must reach: number → what it is."""
    return dict(page.evaluate(_REACHABLE))


def overflow(page: Page) -> int:
    """Return by how many pixels the document is wider than the window; 0 when nobody has to scroll sideways."""
    assert page.viewport_size is not None
    wide: int = page.evaluate("document.documentElement.scrollWidth")
    return max(0, wide - page.viewport_size["width"])
