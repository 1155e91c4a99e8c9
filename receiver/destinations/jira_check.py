"""What a project of Jira lacks for our tickets, asked without changing anything: `check --online`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from receiver.destinations.jira_api import JiraApi, is_done
from receiver.destinations.jira_fields import JiraSettings
from receiver.destinations.jira_workflow import choose
from receiver.errors import DestinationRefused, Refused
from receiver.rendering.fields import is_template

_RIGHTS: Final = {
    "BROWSE_PROJECTS": "see the project",
    "CREATE_ISSUES": "create issues",
    "EDIT_ISSUES": "keep our part of the description current",
    "ADD_COMMENTS": "add comments",
    "TRANSITION_ISSUES": "close and reopen",
    "CREATE_ATTACHMENTS": "attach logs",
}
_OURS: Final = frozenset({"project", "issuetype", "summary", "description", "labels", "reporter"})
"""Fields of a create screen that we fill, or Jira does."""


async def shortcomings(api: JiraApi, settings: JiraSettings) -> tuple[str, ...]:
    """Return what is missing: permissions, required fields, fields without a place, transitions."""
    return (
        *await _rights(api, settings),
        *await _screen(api, settings),
        *await _ways(api, settings),
    )


async def _rights(api: JiraApi, settings: JiraSettings) -> list[str]:
    needed = {key: what for key, what in _RIGHTS.items() if settings.attach_logs or key != "CREATE_ATTACHMENTS"}
    params = {"projectKey": settings.project, "permissions": ",".join(needed)}
    answer = await api.call("GET", "/mypermissions", params=params)
    granted = answer.get("permissions")
    if not isinstance(granted, Mapping):
        return []
    return [
        f"permission {key} is not granted in project {settings.project} (needed to {what}); grant it to this account"
        for key, what in needed.items()
        if isinstance(granted.get(key), Mapping) and not granted[key].get("havePermission")
    ]


async def _screen(api: JiraApi, settings: JiraSettings) -> list[str]:
    """Compare what the create screen demands and offers with what we send."""
    where = f"/issue/createmeta/{settings.project}/issuetypes"
    try:
        types = _rows(await api.call("GET", where), "issueTypes")
        own = next((each for each in types if each.get("name") == settings.issue_type), None)
        if own is None:
            return []  # the probe says so
        fields = _rows(await api.call("GET", f"{where}/{own.get('id')}", params={"maxResults": 200}), "fields")
    except (DestinationRefused, Refused):
        return []  # Data Center before 8.4 has other create metadata
    screen = {str(each.get("fieldId") or each.get("key")): each for each in fields}
    sent = {*_OURS, *settings.fields}
    sent |= {"priority"} if settings.priority else set()
    sent |= {"components"} if settings.components else set()
    kind = f"{settings.issue_type} in project {settings.project}"
    lacks = [
        f"{kind} demands the field {each.get('name') or key} ({key}); give it in fields:"
        for key, each in screen.items()
        if each.get("required") and not each.get("hasDefaultValue") and key not in sent
    ]
    if screen:
        lacks += [
            f"{kind} has no field {key} on its create screen; add it there{'' if key in _OURS else ' or leave it out'}"
            for key in sorted({"summary", "description", "labels", *sent} - {"project", "issuetype", "reporter"})
            if key not in screen
        ]
    return [*lacks, *_values(screen, settings, kind)]


def _values(screen: Mapping[str, Mapping[str, Any]], settings: JiraSettings, kind: str) -> list[str]:
    """Check names that are no templates against the values that the screen allows."""
    lacks: list[str] = []
    for key, names in (("priority", (settings.priority,)), ("components", settings.components)):
        offered = [str(each.get("name")) for each in screen.get(key, {}).get("allowedValues") or []]
        lacks += [
            f"{kind} has no {key} {name}; name one of {', '.join(offered[:20])}"
            for name in names
            if offered and name and not is_template(name) and name not in offered
        ]
    return lacks


async def _ways(api: JiraApi, settings: JiraSettings) -> list[str]:
    """Look at transitions of an open and a closed issue of the type, where the project has one to look at."""
    lacks: list[str] = []
    for closes, key, name in (
        (True, "resolve_transition", settings.resolve_transition),
        (False, "reopen_transition", settings.reopen_transition),
    ):
        compared = "!=" if closes else "="
        jql = (
            f'project = "{settings.project}" AND issuetype = "{settings.issue_type}" '
            f"AND statusCategory {compared} Done ORDER BY created DESC"
        )
        issues = await api.search(jql)
        example = next((each for each in issues if is_done(each.get("fields") or {}) is not closes), None)
        if example is None:
            continue
        answer = await api.call(
            "GET", f"/issue/{example.get('id')}/transitions", params={"expand": "transitions.fields"}
        )
        offered = [each for each in answer.get("transitions") or [] if isinstance(each, dict)]
        if choose(offered, name, closes=closes) is None:
            names = ", ".join(str(each.get("name")) for each in offered) or "none"
            way = f"the transition {name}" if name else f"a way {'to' if closes else 'back from'} a done status"
            lacks.append(f"an issue like {example.get('key')} does not offer {way} (offered: {names}); set {key}")
        elif chosen := _demanding(offered, name, closes=closes):
            lacks.append(chosen)
    return lacks


def _demanding(offered: Sequence[Mapping[str, Any]], name: str, *, closes: bool) -> str:
    """Return what the transition's screen demands that we do not give; we give a resolution only."""
    chosen = choose(offered, name, closes=closes) or {}
    fields = chosen.get("fields")
    needed = [
        str(field.get("name") or key)
        for key, field in (fields.items() if isinstance(fields, Mapping) else ())
        if isinstance(field, Mapping)
        and field.get("required")
        and not field.get("hasDefaultValue")
        and not (closes and key == "resolution")
    ]
    if not needed:
        return ""
    return f"the transition {chosen.get('name')} demands {', '.join(needed)}, which is not sent; name another one"


def _rows(answer: Mapping[str, Any], named: str) -> list[dict[str, Any]]:
    """Return the list of an answer: Cloud names it, Data Center calls it `values`."""
    found = answer.get(named) or answer.get("values") or answer.get("results")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
