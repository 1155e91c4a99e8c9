"""Gathers evidence about an alert that is not of a Plan: autopilot's own look, or the objects that the labels name."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from receiver.enrichers.autopilot import is_autopilots, look_at_autopilot
from receiver.enrichers.looking import Look
from receiver.enrichers.objects import look_at_objects
from receiver.enrichers.redact import Redactor
from receiver.enrichers.shelf import no_runbook
from receiver.kube import Cluster
from receiver.model import Alert, Evidence, Link, Missing

_log = structlog.get_logger(__name__)


async def gather_other(
    cluster: Cluster, alert: Alert, *, redactor: Redactor, now: datetime, timeout_s: float, runbook: Link | None = None
) -> Evidence:
    """Return what the cluster says about the objects of an alert, redacted, within `timeout_s` seconds.

    Raises nothing that a cluster or an alert could cause: what could not be had stands in `missing`, and what was
    learnt before the time was over stays.
    """
    look = Look(cluster, redactor, now)
    try:
        async with asyncio.timeout(timeout_s):
            if what := is_autopilots(alert.labels):
                await look_at_autopilot(look, what, alert.labels)
            else:
                await look_at_objects(look, alert.labels)
    except TimeoutError:
        look.missing.append(Missing(f"the rest of cluster {cluster.name}", "timeout", "asked again"))
    except Exception as error:
        # Its message may quote what was read: only its kind is told.
        _log.exception("enricher failed", enricher="objects", exc_info=False, error=type(error).__name__)
        look.missing.append(Missing("evidence", f"our own error ({type(error).__name__})", passing=False))
    lacking = () if runbook is not None else (no_runbook(look.hide(alert.name)),)
    return look.evidence((runbook,) if runbook is not None else (), lacking)
