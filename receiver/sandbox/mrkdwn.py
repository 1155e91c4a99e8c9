"""Slack's mrkdwn drawn as HTML, as Slack's clients draw it."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from markupsafe import Markup, escape

from receiver.sandbox.adf import link

EMOJI = {
    "bell": "🔔",
    "blue_circle": "🔵",
    "eyes": "👀",
    "fire": "🔥",
    "green_circle": "🟢",
    "information_source": "ℹ️",
    "large_blue_circle": "🔵",
    "large_green_circle": "🟢",
    "large_orange_circle": "🟠",
    "large_red_square": "🟥",
    "large_yellow_circle": "🟡",
    "link": "🔗",
    "orange_circle": "🟠",
    "red_circle": "🔴",
    "rotating_light": "🚨",
    "ticket": "🎫",
    "warning": "⚠️",
    "white_check_mark": "✅",
    "white_circle": "⚪",
    "x": "❌",
}

_FENCE = re.compile(r"```(.*?)```", re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_ANGLE = re.compile(r"<([^<>\n]+)>")
_EMOJI = re.compile(r":([a-z0-9_+-]+):")
# a mark opens after a boundary and closes before one, as in Slack: 2*3*4 stays as it is
_STYLES = tuple(
    (re.compile(rf"(?<![\w{mark}])[{mark}](\S|\S.*?\S)[{mark}](?![\w{mark}])"), tag)
    for mark, tag in (("*", "b"), ("_", "i"), ("~", "s"))
)
_DATE_FORMATS = {
    "{date_num}": "%Y-%m-%d",
    "{date}": "%B %-d, %Y",
    "{date_short}": "%b %-d, %Y",
    "{date_long}": "%A, %B %-d, %Y",
    "{date_pretty}": "%B %-d, %Y",
    "{date_short_pretty}": "%b %-d, %Y",
    "{date_long_pretty}": "%A, %B %-d, %Y",
    "{time}": "%H:%M",
    "{time_secs}": "%H:%M:%S",
}


def to_html(text: str, zone: tzinfo) -> Markup:
    """Draw mrkdwn; `text` carries Slack's three entities, everything else in it is escaped here."""
    parts: list[Markup] = []
    for index, piece in enumerate(_FENCE.split(text)):
        if index % 2:
            parts.append(Markup("<pre><code>{}</code></pre>").format(_unescape(piece.strip("\n"))))
        else:
            trimmed = piece.removeprefix("\n") if index else piece
            parts.append(_lines(trimmed, zone))
    return Markup("").join(parts)


def emoji(text: str) -> str:
    """Replace the shortcodes that we know; others stay as they were sent."""
    return _EMOJI.sub(lambda match: EMOJI.get(match[1], match[0]), text)


def _lines(text: str, zone: tzinfo) -> Markup:
    drawn: list[Markup] = []
    quoted: list[Markup] = []
    for line in text.split("\n"):
        if line.startswith(("&gt;", ">")):
            quoted.append(_inline(line.removeprefix("&gt;").removeprefix(">").lstrip(), zone))
            continue
        if quoted:
            drawn.append(Markup("<blockquote>{}</blockquote>").format(Markup("<br>").join(quoted)))
            quoted = []
        drawn.append(Markup("{}<br>").format(_inline(line, zone)))
    if quoted:
        drawn.append(Markup("<blockquote>{}</blockquote>").format(Markup("<br>").join(quoted)))
    joined = Markup("").join(drawn)
    return Markup(joined.removesuffix("<br>"))  # noqa: S704  # only pieces escaped above


def _inline(text: str, zone: tzinfo) -> Markup:
    parts: list[Markup] = []
    for index, piece in enumerate(_CODE.split(text)):
        if index % 2:
            parts.append(Markup("<code>{}</code>").format(_unescape(piece)))
        else:
            parts.append(_styled(piece, zone))
    return Markup("").join(parts)


def _styled(text: str, zone: tzinfo) -> Markup:
    """Draw links and mentions first, so that an underscore in an address is not taken for italics."""
    kept: list[Markup] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(_angle(match[1], zone))
        return f"\x00{len(kept) - 1}\x00"

    drawn = str(escape(_unescape(emoji(_ANGLE.sub(keep, text.replace("\x00", ""))))))
    for pattern, tag in _STYLES:
        drawn = pattern.sub(rf"<{tag}>\1</{tag}>", drawn)
    drawn = re.sub("\x00(\\d+)\x00", lambda match: str(kept[int(match[1])]), drawn)
    return Markup(drawn)  # noqa: S704  # escaped above, before the tags were put in


def _angle(inner: str, zone: tzinfo) -> Markup:
    target, _, label = inner.partition("|")
    if target.startswith("!date^"):
        return _date(target, label, zone)
    if target.startswith("!subteam^"):
        return _mention(label or "@" + target.removeprefix("!subteam^"))
    if target.startswith("!"):
        return _mention("@" + target[1:])
    if target.startswith(("@", "#")):
        return _mention(target[0] + (label or target[1:]))
    return link(_unescape(target), _styled(label, zone) if label else escape(_unescape(target)))


def _mention(text: str) -> Markup:
    return Markup("<span class='mention'>{}</span>").format(_unescape(text))


def _date(target: str, fallback: str, zone: tzinfo) -> Markup:
    _, stamp, form, *url = [*target.split("^"), ""][:4]
    if not stamp.isdigit():
        return escape(_unescape(fallback))
    moment = datetime.fromtimestamp(int(stamp), zone)
    shown = re.sub(
        r"\{[a-z_]+\}", lambda match: moment.strftime(_DATE_FORMATS.get(match[0], match[0])), _unescape(form)
    )
    return link(_unescape(url[0]), escape(shown)) if url and url[0] else escape(shown)


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
