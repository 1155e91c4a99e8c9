"""Structured logs to stderr: an event name, then fields. Library logs take the same shape."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from receiver.spared import without

with without("rich", "greenlet"):  # 5 MB for pretty tracebacks, which would print secrets, and for gevent
    import structlog

FORMS: Final = ("text", "json")


def set_up(form: str = "text", level: str = "INFO") -> None:
    """Configure logging once; `form` is `json` or `text`, or empty for the latter. Any other exits with 2."""
    if form not in ("", *FORMS):
        sys.stderr.write(f"MTV_RECEIVER_LOG_FORMAT: {form[:40]!r} is no form of logs; set it to {' or '.join(FORMS)}\n")
        raise SystemExit(2)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Any]
    if form == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        # Plain tracebacks: the pretty ones print local variables, and those hold tokens.
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("httpx2", "httpcore2", "uvicorn.access", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # httpx logs URLs, and some URLs are secrets
