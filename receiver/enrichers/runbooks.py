"""Where to read on, and commands to copy. Never an invented link, never a command that a name could break."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from receiver.enrichers import Context, Part
from receiver.enrichers.reading import dig, text
from receiver.model import Link, Missing

MUST_GATHER_IMAGE = "quay.io/kubev2v/forklift-must-gather:latest"
URL_LIMIT = 2_000

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")


class Runbooks:
    """The enricher. It asks nobody, so it always answers."""

    name = "runbook"
    budget_s = 1.0

    async def gather(self, ctx: Context) -> Part:
        link = runbook_link(ctx.alertname, ctx.annotations, ctx.runbooks)
        commands: tuple[Link, ...] = ()
        if ctx.plan is not None:
            namespace, name = text(dig(ctx.plan, "metadata", "namespace")), text(dig(ctx.plan, "metadata", "name"))
            commands = (
                *rerun_command(namespace, name),
                *must_gather_command(namespace, name, ctx.must_gather_image or MUST_GATHER_IMAGE),
            )
        if link is not None:
            return Part(links=(link,), commands=commands)
        about = f" for {ctx.alertname}" if ctx.alertname else ""
        cure = "set the annotation runbook_url on the alert's rule"
        return Part(commands=commands, missing=(Missing("runbook", f"no runbook known{about}", cure, passing=False),))


def runbook_link(alertname: str, annotations: Mapping[str, str], configured: Mapping[str, str]) -> Link | None:
    """Return the configured link of this alert, else that of its annotation `runbook_url`, if it is usable.

    Usable: http or https with a host, no blanks or control characters, at most 2,000 characters. There is no built-in
    table: Forklift ships its alerts without runbooks, and nobody publishes one.
    """
    for url in (configured.get(alertname, ""), annotations.get("runbook_url", ""), annotations.get("runbook", "")):
        if usable(url):
            return Link("Runbook", url)
    return None


def rerun_command(namespace: str, name: str) -> tuple[Link, ...]:
    """Return the command that starts a new run; empty where a name is not one that Kubernetes would take."""
    if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)):
        return ()
    migration = {
        "apiVersion": "forklift.konveyor.io/v1beta1",
        "kind": "Migration",
        "metadata": {"generateName": f"{name}-", "namespace": namespace},
        "spec": {"plan": {"name": name, "namespace": namespace}},
    }
    body = json.dumps(migration, separators=(",", ":"))
    return (Link("Run again (deletes the failed pods and their logs)", f"oc create -f - <<< '{body}'"),)


def must_gather_command(namespace: str, name: str, image: str = MUST_GATHER_IMAGE) -> tuple[Link, ...]:
    """Return the full gather and the small one; the small one leaves out the logs of VMs that were never created.

    Without the Plan's namespace the small one would look in Forklift's only, so both names are always given.
    """
    if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name) and _IMAGE.fullmatch(image)):
        return ()
    base = f"oc adm must-gather --image={image}"
    return (
        Link("Must-gather, everything (for a support case)", base),
        Link(
            "Must-gather, this plan only (without logs of VMs that were never created)",
            f"{base} -- NS={namespace} PLAN={name} /usr/bin/targeted",
        ),
    )


def usable(url: str) -> bool:
    """Tell whether a link can be shown: http or https with a host, no blanks or odd characters, no credentials."""
    if not url or len(url) > URL_LIMIT or not url.isprintable() or any(sign in url for sign in " <>\"'|\\`"):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
