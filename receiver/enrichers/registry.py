"""Every enricher, once. To add one: write its file, add its line."""

from __future__ import annotations

from receiver.enrichers import Enricher
from receiver.enrichers.controller import Controller
from receiver.enrichers.logs import Logs
from receiver.enrichers.planevents import PlanEvents
from receiver.enrichers.runbooks import Runbooks
from receiver.enrichers.waits import Waits

ALL: tuple[Enricher, ...] = (
    Logs(),
    Controller(),
    PlanEvents(),
    Waits(),
    Runbooks(),
)
