"""A handover with something in every part, for tests of how it is said."""

from __future__ import annotations

from datetime import timedelta

from receiver.handover import Done, Ended, Ending, Handover, OpenStory, Some, Storm, Untold
from tests.stories import at

NOW = at(6, 0)


def story(name: str, impact: str, minutes: int, **more: object) -> OpenStory:
    found = {
        "id": f"01JD00000000000000000000{len(name):02}", "title": f"plan {name}", "namespace": name.partition("/")[0],
        "cluster": "ocp-prod-2", "state": "firing", "impact": impact, "severity": "critical", "failed": 3, "total": 20,
        "cause": "", "since": NOW - timedelta(minutes=minutes), "taken_by": "", "taken_at": None,
        "silenced_until": None, "silenced_by": "",
    }  # fmt: skip
    return OpenStory(**{**found, **more})  # type: ignore[arg-type]


FULL = Handover(
    now=NOW, since_s=43_200.0, number=40, down=3, free=2, vms_down=14, vms_at_least=False,
    storms=(Storm("01JD0000000000000000000STM", "31 failures at once", 31, at(2, 14), ""),),
    open=Some(
        (
            story(
                "mig-payments/pay-w17-03", "down", 58,
                cause="the disk is BitLocker-encrypted; no key in the plan opens it",
            ),
            story(
                "mig-hr/hr-wave4", "at_risk", 311, taken_by="Dana Whitfield", silenced_until=at(9, 30),
                silenced_by="Dana Whitfield", cause="the `virt-v2v` appliance has too little memory",
            ),
            story("mig-erp/erp-wave1", "down", 12, state="re-running", failed=1, total=8, taken_by="Ana Costa"),
            story(
                "node-worker-3", "unknown", 3, title="Node worker-3 runs no virtual machines", failed=0, total=0,
                namespace="openshift-cnv",
            ),
        ),
        7,
    ),
    stuck=Some(
        (
            story(
                "mig-billing/cclm-billing", "none", 25, failed=0, total=1,
                cause="no node of the target cluster can take the receiver pod: too little memory on 3 of 6 nodes",
            ),
        ),
        1,
    ),
    dead=Some(
        (
            Untold(
                "dead", "network/slack", "invalid_blocks", at(5, 20), 1, "01JD0000000000000000000NET",
                "plan mig-network/net-edge-01", stood_in=True,
            ),
        ),
        1,
    ),
    waiting=Some(
        (
            Untold("parked", "storage/slack", "is_archived", at(4, 2), 12),
            Untold("parked", "slack:slack.com #old", "token_revoked", at(1, 0), 0),
            Untold("retrying", "payments/jira", "HTTP 503", at(5, 41), 1),
        ),
        3,
    ),
    ended=Some(
        (
            Ended(
                "01JD0000000000000000000CRM", "plan mig-erp/crm-wave2", "mig-erp", "ocp-prod-2", "fixed", at(1, 0),
                at(4, 22), rerun=True,
            ),
            Ended("01JD0000000000000000000DSK", "DiskFull", "team-a", "", "cleared", at(3, 0), at(3, 5), rerun=False),
        ),
        2,
    ),
    outcomes={"fixed": 1, "cleared": 1},
    done=Some(
        (
            Done(
                at(5, 1), "01JD0000000000000000000HRW", "plan mig-hr/hr-wave4", "silence", "Dana Whitfield", "Slack",
                "silenced until 09:30 UTC",
            ),
            Done(
                at(0, 52), "01JD0000000000000000000HRW", "plan mig-hr/hr-wave4", "acknowledge", "Dana Whitfield",
                "PagerDuty", "Dana Whitfield has it now.",
            ),
        ),
        2,
    ),
    ending=Some((Ending("01JD0000000000000000000HRW", "plan mig-hr/hr-wave4", at(9, 30), "Dana Whitfield"),), 1),
)  # fmt: skip
