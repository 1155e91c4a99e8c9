"""Shadow mode in a root's receipt: what would be shown by now, had anything been sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SHADOW: Final = "shadow"
"""Key of a root's receipt; below it the revision of the first message, and the one that would be shown now."""


def in_shadow(root: Mapping[str, Any] | None) -> bool:
    """Was anything of this root only written down, and not sent?"""
    return root is not None and SHADOW in root


def only_shadow(root: Mapping[str, Any]) -> bool:
    """Is there nothing of this root at the destination?"""
    return root.keys() == {SHADOW}


def without_shadow(root: Mapping[str, Any]) -> dict[str, Any]:
    """Return what there is at the destination."""
    return {key: value for key, value in root.items() if key != SHADOW}


def handed_over(root: Mapping[str, Any], reset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the root of another story: real keys begin anew as `reset` says, the shadow with revision 0."""
    if not in_shadow(root):
        return {**root, **reset}
    real = {} if only_shadow(root) else {**without_shadow(root), **reset}
    return {**real, SHADOW: {"revision": 0, "shown": 0}}
