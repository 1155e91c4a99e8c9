"""What destinations answered and what was done there, in words: an identifier of a vendor alone helps nobody. Pure."""

from __future__ import annotations

import re
from typing import Final

_RENEW: Final = "put a valid token where the configuration reads it, then retry"
_SLACK: Final = {
    "is_archived": "the channel is archived: unarchive it or configure another one, then retry",
    "channel_not_found": "there is no such channel, or our app does not see it: invite it or mend the name, then retry",
    "not_in_channel": "our app is not in the channel: invite it, then retry",
    "is_inactive": "the channel is inactive: configure another one, then retry",
    "restricted_action": "the workspace lets nobody like our app post there: ask its admins",
    "invalid_blocks": "it does not take this message as it is made: mend the template if it is your own, then retry",
    "msg_too_long": "the message is too long: shorten the template if it is your own, then retry",
    "msg_blocks_too_long": "the message is too long: shorten the template if it is your own, then retry",
    "missing_scope": "the app lacks a right: add the scope and install the app again",
    "invalid_auth": f"it does not know the token: {_RENEW}",
    "not_authed": f"no token was sent: {_RENEW}",
    "token_revoked": f"the token was revoked: {_RENEW}",
    "token_expired": f"the token has expired: {_RENEW}",
    "account_inactive": f"the token's owner is gone: {_RENEW}",
    "ratelimited": "too many messages for now: it is asked again by itself",
}
_CODE: Final = re.compile(r"[a-z][a-z_]{2,59}")
_DONE: Final = {
    "create": "created", "update": "updated", "resolve": "closed", "reopen": "opened again", "comment": "added",
    "reply": "added", "attach": "attached", "file": "attached", "trigger": "sent", "acknowledge": "marked as taken",
    "close": "closed",
}  # fmt: skip
_NOUNS: Final = {"jira": "ticket", "servicenow": "ticket", "github": "issue", "gitlab": "issue", "pagerduty": "page"}


def answered(error: str, where: str) -> str:
    """Return an error as people understand it, with its cure where that is known; `where` is label or kind."""
    slack = re.search(r"\bslack\b", where) is not None
    if not slack or not _CODE.fullmatch(error):
        return error
    known = _SLACK.get(error)
    return f"Slack answered {error}: {known}" if known else f"Slack answered: {error}"


def tried(op: str, part: str, kind: str, outcome: str | None) -> str:
    """Return what a try was about and how it went, such as "message created" or "log not attached"."""
    shadow = op.startswith("shadow ")
    op = op.removeprefix("shadow ")
    if op in ("adopt", "look"):
        return f"looked for {_article(_noun(part, kind))} of an earlier try"
    what, done = _noun(part, kind), _DONE.get(op, f"{op} done")
    if shadow:
        return f"{what} would be {done}"
    if outcome == "ok":
        return f"{what} {done}"
    return (
        f"{what}: {'no answer yet' if outcome is None else 'answer unknown' if outcome == 'unknown' else f'not {done}'}"
    )


def _noun(part: str, kind: str) -> str:
    if part.startswith("file-"):
        return "log"
    return _NOUNS.get(kind, "message") if part == "root" else "comment" if kind in _NOUNS else "reply"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
