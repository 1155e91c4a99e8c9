"""A picture that was made smaller shows the same, pixel by pixel, as a browser reads it."""

from __future__ import annotations

from base64 import b64encode

from tests.browser.chromium import Variant, Visitor
from tests.browser.png import smaller

SAME = """async pictures => {
  const pixels = []
  for (const one of pictures) {
    const image = new Image()
    image.src = `data:image/png;base64,${one}`
    await image.decode()
    const drawn = new OffscreenCanvas(image.width, image.height).getContext("2d")
    drawn.drawImage(image, 0, 0)
    pixels.push(drawn.getImageData(0, 0, image.width, image.height).data)
  }
  return pixels[0].length === pixels[1].length && pixels[0].every((one, at) => one === pixels[1][at])
}"""


def test_a_smaller_picture_shows_the_same(visit: Visitor) -> None:
    page = visit("/runbooks/MTVPlanFailed", Variant("dark", "phone"), bypass_csp=True)
    whole = page.screenshot()
    made = smaller(whole)
    assert len(made) < len(whole)
    assert page.evaluate(SAME, [b64encode(one).decode() for one in (whole, made)])
    assert not page.evaluate(SAME, [b64encode(whole).decode(), b64encode(page.screenshot(full_page=True)).decode()])


def test_what_is_of_another_kind_stays_as_it_is() -> None:
    grey = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU"
    assert smaller(grey) == grey
