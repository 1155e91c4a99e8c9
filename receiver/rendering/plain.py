"""The built-in plain message: what is sent when a template breaks or a destination refuses the rendered form.

It uses no template and no markup, and trusts nothing: whatever is wrong with a story, some words come out.
"""

from __future__ import annotations

import structlog

from receiver.limits import truncate
from receiver.model import Entry, Link, Wanted
from receiver.rendering import Message, Paragraph, Small, Span
from receiver.rendering.build import build
from receiver.rendering.context import Context
from receiver.rendering.markup import clean
from receiver.rendering.view import mark

log = structlog.get_logger(__name__)

_STATES = {
    "firing": "failed",
    "alert": "firing",
    "alert-gone": "alert gone, plan still failed",
    "re-running": "running again, not fixed yet",
    "ended-here": "no longer firing for this destination",
    "fixed": "fixed",
    "canceled": "canceled",
    "deleted": "plan deleted",
    "cleared": "alert cleared",
    "merged": "continued in another story",
    "digest": "told in one message",
    "digest-over": "all clear",
    "handover": "what the next shift must know",
}


def plain(wanted: Wanted, kind: str, content: str = "full", entry: Entry | None = None) -> Message:
    """Return a story, or one of its entries, in a few lines of plain text. Never raises."""
    try:
        return _plain(build(wanted, kind, content, entry), wanted)
    except Exception:  # the last resort must not depend on what went wrong
        log.exception("render.plain_broken", kind=kind)
        return _bare(wanted)


def _plain(context: Context, wanted: Wanted) -> Message:
    emoji, color = mark(wanted)
    what = f"Migration plan {context.name}" if context.is_plan else context.headline or context.name
    state = _STATES.get(context.message, context.message)
    if context.stuck and context.message == "firing":
        state = "stuck"
    if context.moved:
        state = f"moved to {context.moved_to}" if context.moved_to else "moved to somebody else"
    title = truncate(": ".join((what, state)) + (f" · {context.where}" if context.where else ""), 140)
    lines = [context.text] if context.text else []
    open_plan = context.is_plan and context.message in {"firing", "alert-gone"}
    if open_plan:
        words = [part for part in (context.failed_of, context.others, context.impact_words) if part]
        lines.append(f"{', '.join(words)}." if words else "")
        lines.append(context.impact_text)
        known = not context.reading and context.content != "minimal"
        lines.append(f"Cause: {context.cause or 'not recognised'}." if known else "")
        lines += [f"{one.names}: {one.cause}. {one.lacks}".strip() for one in context.waits if not one.told]
        lines += [f"{at}. {step.text} {step.command}".strip() for at, step in enumerate(context.do_now, 1)]
    elif context.message == "digest":
        numbers = (context.impact_words, context.failed_of, f"{context.plans_open} of {context.plans_words} go on")
        lines.append(f"{', '.join(filter(None, numbers))}.")
        lines += [f"{one.vms} VMs in {one.plans} plans: {one.cause}. {one.owner}".strip() for one in context.causes]
    elif context.message == "handover":
        lines += [": ".join(filter(None, (one.part, one.name, one.text))) for one in context.handover]
    elif context.message == "alert":
        lines.append(context.description)
    else:
        lines.append(context.why)
    small = [*context.unknown]
    if context.taken:
        small.insert(0, f"Taken by {context.taken}")
    if context.fallback_for:
        small.insert(0, f"Told here because {context.fallback_for}")
    if context.because:
        small.append(f"Told because {context.because}")
    return Message(
        push=truncate(title, 100),
        title=title,
        mark=emoji,
        color=color,
        blocks=(
            *(Paragraph((Span(truncate(line, 600)),)) for line in lines if line),
            *(Paragraph((Span(f"{one.caption}: {one.command}"),)) for one in context.commands if open_plan),
            *(Small((Span(truncate(line, 300)),)) for line in small),
        ),
        links=(Link("Story", context.url),) if context.url else (),
        summary=summary(context),
    )


def summary(context: Context) -> str:
    """Return the stable one-line summary that needs no template: what, and where."""
    what = (
        f"Migration plan {context.name} {'is stuck' if context.stuck else 'failed'}"
        if context.is_plan
        else context.headline or context.name
    )
    return truncate(what + (f" ({context.where})" if context.where else ""), 200)


def _bare(wanted: Wanted) -> Message:
    try:
        text = truncate(clean(wanted.story.title) or "Alert", 140)
        number = clean(wanted.story.id)
    except Exception:  # even a story that is no story
        text, number = "Alert", "unknown"
    blocks = (Paragraph((Span(f"This message could not be worded. Story {number}: look it up, somebody must know."),)),)
    return Message(push=truncate(text, 100), title=text, mark="🔴", color="#d92d20", blocks=blocks, summary=text)
