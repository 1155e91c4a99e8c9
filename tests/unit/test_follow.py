"""What the Plan watch told before there was a story that it could have changed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from receiver.clock import SystemClock
from receiver.follow import Follower
from receiver.identify import Identifier
from receiver.kube import PlanEvent
from receiver.metrics import Metrics
from receiver.model import Outcome, PlanPhase, PlanState, StoryState
from receiver.record import Recorded
from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import cluster_for, plan, watching
from tests.unit.recording import AlertStatus, Desk, desk, uid

pytestmark = pytest.mark.anyio

TOP = "global: {resolve_delay: 0s}\nclusters: [{name: local, kubeconfig_file: kubeconfig}]"


async def closed_as(one: Desk, follower: Follower, seconds: float) -> str | None:
    """Let the follower work, until the story is over or so long; return how it ended."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            work = group.create_task(follower.run())
            while (await one.stories())[0].state != StoryState.RESOLVED.value:
                await asyncio.sleep(0.02)
            work.cancel()
    return (await one.stories())[0].outcome


async def test_a_plan_that_succeeded_while_its_alert_was_looked_up_ends_the_story(tmp_path: Path) -> None:
    """The watch spoke of the success before the alert's end was written, with what had been read a moment before."""
    async with running(KubernetesApi()) as api, desk(tmp_path, top=TOP) as one:
        of = replace(uid(), cluster="local", namespace="team", name="a")
        await api.apply(plan("a", "Ready", "Succeeded", uid=of.uid))
        cluster = cluster_for(api, tmp_path)
        async with watching(cluster) as watched:
            await watched.until(lambda: watched.told("synced") == 1)
            clusters = {"local": cluster}
            identifier = Identifier(one.config, clusters, SystemClock(), lambda text: (text, 0))
            follower = Follower(
                one.store, one.config, clusters, identifier, one.recorder, Metrics(["slack"], clusters),
                on_change=lambda *_: None,
            )  # fmt: skip
            stale = PlanState(PlanPhase.EXECUTING, run="r2")
            await one.record(one.incoming("platform", of, plan=PlanState(PlanPhase.FAILED, run="r1")))
            told: Recorded = await one.record(one.incoming("platform", of, status=AlertStatus.RESOLVED, plan=stale))
            assert told.changes
            assert (await one.stories())[0].state == StoryState.RERUNNING.value

            assert await closed_as(one, follower, 1.0) is None, "nothing else would look again"
            follower.recorded(of, stale)
            assert await closed_as(one, follower, 10.0) == Outcome.FIXED.value
        await identifier.aclose()
        await cluster.aclose()


async def test_who_else_listens_to_the_watch_keeps_no_news_from_the_stories(tmp_path: Path) -> None:
    def breaks(cluster: str, event: PlanEvent) -> None:
        raise RuntimeError(f"{cluster}: {event.kind}")

    async with running(KubernetesApi()) as api, desk(tmp_path, top=TOP) as one:
        clusters = {"local": cluster_for(api, tmp_path)}
        metrics = Metrics(["slack"], clusters)
        identifier = Identifier(one.config, clusters, SystemClock(), lambda text: (text, 0))
        follower = Follower(
            one.store, one.config, clusters, identifier, one.recorder, metrics,
            on_change=lambda *_: None, on_event=breaks,
        )  # fmt: skip

        def shown() -> str:
            return generate_latest(metrics.registry).decode()

        watch = asyncio.create_task(follower.watch(clusters["local"]))
        try:
            async with asyncio.timeout(20):
                while (
                    'mtv_receiver_cluster_synced{cluster="local"} 1.0' not in generate_latest(metrics.registry).decode()
                ):
                    await asyncio.sleep(0.01)
        finally:
            watch.cancel()
        assert 'mtv_receiver_bugs_total{where="watch"}' in generate_latest(metrics.registry).decode()
