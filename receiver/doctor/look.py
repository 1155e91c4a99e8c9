"""Reads all that the judges need: the others first, then our own store."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from datetime import datetime

from receiver.config.model import Config, PrometheusConfig
from receiver.doctor import alertmanager, cluster, prometheus
from receiver.doctor.chain import Ours, Outside, Seen, Unread
from receiver.doctor.cluster import Rights
from receiver.kube import Cluster


async def outside(
    config: Config,
    asked: Cluster | None,
    rights: Rights | None,
    metrics: PrometheusConfig | None,
    which: tuple[str, str] | None,
    now: datetime,
) -> Outside:
    """Ask cluster, Prometheus and Alertmanager side by side. Raises NoSuchPlanError where `which` is none."""
    (seen, plan), told, holders = await asyncio.gather(
        cluster.read(asked, rights, which),
        prometheus.read(metrics, config.subjects),
        alertmanager.read(config.alertmanagers, now),
    )
    followed = plan if plan is not None and plan.failed else None
    held, at = alertmanager.follow(() if isinstance(holders, Unread) else holders, followed, config.subjects)
    return Outside(now, seen, told, holders, config.subjects, plan, held, at)


def together(others: Outside, ours: Ours | Unread) -> Seen:
    """Return all that was read."""
    return Seen(**{one.name: getattr(others, one.name) for one in fields(others)}, ours=ours)
