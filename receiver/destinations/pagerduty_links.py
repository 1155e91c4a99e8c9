"""`images` and `links` of an incident, as Alertmanager's `pagerduty_configs` have them: people's own, beside ours.

Each text may be a template, like the fields of a ticket. An address that comes out empty, or as no address, leaves its
entry out: an incident is never held up by what adorns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, Field

from receiver import fitting
from receiver.config.settings import Settings, check_link
from receiver.model import Wanted
from receiver.rendering.fields import Templated, check, fill, is_template, values
from receiver.rendering.markup import safe_url

log = structlog.get_logger(__name__)

MAX_ENTRIES = 20
"""Entries of either list: with addresses of MAX_URL they leave room for an event's details."""
MAX_URL = 2_000
MAX_TEXT = 200
_HTTPS = ("https://",)
_WEB = ("https://", "http://")


def _address(value: str, schemes: tuple[str, ...], what: str) -> str:
    """Judge an address as far as it is known before its template is run."""
    known = value[: min((at for at in (value.find("{{"), value.find("{%")) if at >= 0), default=len(value))].lstrip()
    head = known.lower()
    if not any(head.startswith(one) or (is_template(value) and one.startswith(head)) for one in schemes):
        raise ValueError(what)
    return value if is_template(value) else check_link(value)


def _image(value: str) -> str:
    return _address(value, _HTTPS, "not an https address; PagerDuty shows images from https://… only")


def _link(value: str) -> str:
    return _address(value, _WEB, "not a URL; write such as https://host/path")


def _image_link(value: str) -> str:
    return _link(value) if value else value


class PagerDutyImage(Settings):
    """One of `images`: a picture in the incident."""

    src: Annotated[str, Field(min_length=1), AfterValidator(check), AfterValidator(_image)]
    """Address of the picture, https only."""
    href: Annotated[Templated, AfterValidator(_image_link)] = ""
    """Where a click on it leads."""
    alt: Templated = ""
    """What it says to those who do not see it."""


class PagerDutyLink(Settings):
    """One of `links`, beside our own to the story and the runbook."""

    href: Annotated[str, Field(min_length=1), AfterValidator(check), AfterValidator(_link)]
    """Where it leads."""
    text: Templated = ""
    """What it says; empty shows the address."""


def filled(
    images: tuple[PagerDutyImage, ...], links: tuple[PagerDutyLink, ...], wanted: Wanted, content: str
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return images and links as the event takes them; none in the plain form, which has only what is needed."""
    if wanted.plain or not (images or links):
        return [], []
    known = values(wanted, "pagerduty", content)
    pictures = []
    for image in images:
        if src := _filled(image.src, known, _HTTPS):
            more = {"href": _filled(image.href, known, _WEB), "alt": _text(image.alt, known)}
            pictures.append({"src": src, **{key: value for key, value in more.items() if value}})
    found: dict[str, dict[str, str]] = {}
    for link in links:
        if href := _filled(link.href, known, _WEB):
            found.setdefault(href, {"href": href, "text": _text(link.text, known) or href})
    return pictures, list(found.values())


def _filled(source: str, known: Mapping[str, Any], schemes: tuple[str, ...]) -> str:
    """Return an address, empty where it is none that PagerDuty would take."""
    url = fill(source, known, _broken)
    if url and not (url.lower().startswith(schemes) and safe_url(url) and len(url) <= MAX_URL):
        _broken(source, "the result is no address that PagerDuty takes")
        return ""
    return url


def _text(source: str, known: Mapping[str, Any]) -> str:
    return fitting.one_line(fill(source, known, _broken), MAX_TEXT)


def _broken(source: str, why: str) -> None:
    log.warning("pagerduty.left_out", template=source, why=why)
