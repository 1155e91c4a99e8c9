"""The create screen of an issue type, as Jira describes it."""

from __future__ import annotations

from typing import Any

from receiver.sandbox.jira import ISSUE_TYPES, PRIORITIES, Jira, JiraError

SCREEN = {
    "project": ("Project", True),
    "issuetype": ("Issue Type", True),
    "summary": ("Summary", True),
    "description": ("Description", False),
    "labels": ("Labels", False),
    "priority": ("Priority", False),
    "components": ("Components", False),
    "reporter": ("Reporter", True),
}


def create_fields(jira: Jira, issue_type: str, *, cloud: bool) -> dict[str, Any]:
    """Return the create screen of an issue type, which is named by its id."""
    if not issue_type.isdigit() or not 1 <= int(issue_type) <= len(ISSUE_TYPES):
        raise JiraError(404, "The issue type does not exist.")
    screen = {name: value for name, value in SCREEN.items() if name not in jira.off_screen}
    screen |= {name: (title, True) for name, title in jira.demanded.items()}
    allowed = {
        "priority": [{"name": each} for each in PRIORITIES],
        "components": [{"name": each} for each in jira.components],
    }
    fields = [
        {
            "fieldId": name,
            "key": name,
            "name": title,
            "required": required,
            "hasDefaultValue": name == "reporter",
            **({"allowedValues": allowed[name]} if name in allowed else {}),
        }
        for name, (title, required) in screen.items()
    ]
    return {"fields" if cloud else "values": fields, "total": len(fields), "maxResults": 200, "startAt": 0}
