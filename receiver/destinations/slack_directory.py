"""Who people are at Slack: their e-mail address, and the user groups that they are in. Remembered for a few minutes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from receiver.clock import Clock, SystemClock
from receiver.destinations.slack_api import SlackApi
from receiver.errors import DeliveryError
from receiver.fitting import one_line

REMEMBERED_S = 300.0
MOST_REMEMBERED = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at Slack, as far as Slack said it."""

    id: str
    name: str
    email: str = ""
    """Empty where it was not told, or where our own workspace does not vouch for it."""
    groups: frozenset[str] = frozenset()
    """Of the groups that were asked for, those that the person is in, written as they were asked for."""
    unknown: tuple[str, ...] = ()
    """What could not be learnt, and why."""


class Directory:
    """One workspace's people and groups under one bot token."""

    def __init__(self, api: SlackApi, clock: Clock | None = None) -> None:
        self._api = api
        self._clock = clock or SystemClock()
        self._known: OrderedDict[tuple[str, str], tuple[float, Any]] = OrderedDict()

    async def person(self, user: str, name: str, groups: frozenset[str]) -> Person:
        """Return who a user id is, and which of `groups` (ids, or handles with @) it is in. Never raises for Slack."""
        email, unknown = "", []
        try:
            name, email = await self._once("user", user, lambda: self._user(user, name))
        except DeliveryError as error:
            unknown.append(f"your e-mail address could not be read ({error.reason})")
        within = []
        for group in sorted(groups):
            try:
                if user in await self._members(group):
                    within.append(group)
            except DeliveryError as error:
                unknown.append(f"the members of {group} could not be read ({error.reason})")
        return Person(user, name, email, frozenset(within), tuple(unknown))

    async def group_id(self, handle: str) -> str:
        """Return the id of a user group by its @handle; empty where there is none. Raises DeliveryError."""
        handles = await self._once("handles", "", self._handles)
        return handles.get(handle.removeprefix("@").lower(), "")

    async def _members(self, group: str) -> frozenset[str]:
        found = await self.group_id(group) if group.startswith("@") else group
        return await self._once("group", found, lambda: self._users_of(found)) if found else frozenset()

    async def _user(self, user: str, name: str) -> tuple[str, str]:
        told = (await self._api.call("users.info", {"user": user}, form=True)).get("user")
        told = told if isinstance(told, Mapping) else {}
        profile = told.get("profile")
        profile = profile if isinstance(profile, Mapping) else {}
        known_as = str(profile.get("display_name") or profile.get("real_name") or told.get("real_name") or name)
        email = str(profile.get("email") or "")
        # In a shared channel a stranger's address is what another company's workspace says it is.
        ours = told.get("is_email_confirmed") is not False and not told.get("deleted") and await self._is_ours(told)
        return one_line(known_as, 80) or name, email if ours else ""

    async def _is_ours(self, told: Mapping[str, Any]) -> bool:
        team, enterprise = await self._once("workspace", "", self._workspace)
        home = told.get("enterprise_user")
        same = isinstance(home, Mapping) and bool(enterprise) and home.get("enterprise_id") == enterprise
        return same or (bool(team) and told.get("team_id") == team and not told.get("is_stranger"))

    async def _workspace(self) -> tuple[str, str]:
        told = await self._api.call("auth.test", {})
        return str(told.get("team_id") or ""), str(told.get("enterprise_id") or "")

    async def _handles(self) -> Mapping[str, str]:
        told = (await self._api.call("usergroups.list", {}, form=True)).get("usergroups")
        groups = [each for each in told or () if isinstance(each, Mapping)] if isinstance(told, list) else []
        return {str(each.get("handle", "")).lower(): str(each.get("id", "")) for each in groups}

    async def _users_of(self, group: str) -> frozenset[str]:
        told = (await self._api.call("usergroups.users.list", {"usergroup": group}, form=True)).get("users")
        return frozenset(map(str, told)) if isinstance(told, list) else frozenset()

    async def _once(self, what: str, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask at most every REMEMBERED_S seconds; failures are not remembered."""
        now = self._clock.monotonic()
        kept = self._known.get((what, key))
        if kept is not None and now - kept[0] < REMEMBERED_S:
            found: T = kept[1]
            return found
        found = await ask()
        self._known[what, key] = (now, found)
        self._known.move_to_end((what, key))
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return found
