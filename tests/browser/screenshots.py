"""`make screenshots`: pictures of every page in docs/pictures, light on a desk and dark on a phone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.browser.chromium import Desk, Variant, desk_with_browser
from tests.browser.pages import PAGES, Page
from tests.browser.png import smaller
from tests.browser.site import Site, serving

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
TAKEN = (Variant("light", "desktop"), Variant("dark", "phone"))
MOST_BYTES = 200_000


def take(desk: Desk, site: Site, page: Page, variant: Variant) -> Path:
    """Write one picture: what fits into the window, without motion."""
    path = PICTURES / f"{page.name}-{variant}.png"
    context = desk.context(variant)
    try:
        shown = context.new_page()
        shown.goto(site.url + page.path(site), wait_until="load")
        path.write_bytes(smaller(shown.screenshot(animations="disabled", caret="hide")))
    finally:
        context.close()
    return path


def main() -> None:
    """Take them all; say which are larger than a repository should hold."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, desk_with_browser() as desk, serving(Path(folder)) as site:
        for page in PAGES:
            for variant in TAKEN:
                path = desk.run(lambda page=page, variant=variant: take(desk, site, page, variant))  # type: ignore[misc]
                size = path.stat().st_size
                print(
                    f"{path.relative_to(PICTURES.parents[1])}  {size // 1000} kB{'  too large' * (size > MOST_BYTES)}"
                )


if __name__ == "__main__":
    main()
