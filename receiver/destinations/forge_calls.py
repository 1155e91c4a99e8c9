"""How GitHub and GitLab are asked, and what their answers mean: the part of both adapters that is the same.

A forge names its addresses, its headers and its words; see `forges.Forge` for what is asked of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import httpx2

from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.fitting import one_line
from receiver.http import raise_for_transport, retry_after_s
from receiver.rendering.fields import check_all, is_template

PAGE = 50
PAGES = 5
"""A look-up reads at most so many pages of issues or comments, the newest first."""
LONGEST_S = 3_600.0
"""The longest wait until a limit is reset."""


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue as the forge shows it now."""

    id: str
    """Its number within the project."""
    url: str
    text: str | None
    open: bool
    closed: datetime | None = None
    resolution: str = ""
    """Why it was closed where that means "never mind": a reason, or a label."""


class ForgeCalls(ABC):
    """The calls about the issues of one project."""

    whose: ClassVar[str]
    """Whose answer is expected, such as `GitHub's`."""
    comments_path: ClassVar[str]

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    @abstractmethod
    def _headers(self) -> dict[str, str]:
        """Return what signs us in. Raises DestinationRefused where the secret cannot be read."""

    @abstractmethod
    def _said(self, response: httpx2.Response) -> str:
        """Return an error's words."""

    @abstractmethod
    def _limited_s(self, response: httpx2.Response) -> float | None:
        """Return how long to wait where the forge says in its own way "too much"; None for anything else."""

    @abstractmethod
    def _issue(self, found: Mapping[str, Any]) -> Issue: ...

    async def create(self, body: Mapping[str, Any]) -> Issue:
        return self._issue(await self._call("POST", "/issues", body=body))

    async def issue(self, number: str) -> Issue:
        return self._issue(await self._about(number, "GET", ""))

    async def comment(self, number: str, text: str) -> str:
        return str((await self._about(number, "POST", self.comments_path, {"body": text})).get("id", ""))

    async def _about(
        self, number: str, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Call about one issue. Raises Gone only where the project itself is still there for us."""
        try:
            return await self._call(method, f"/issues/{number}{path}", body=body, missing=Gone)
        except Gone:
            await self._call("GET", "")  # 404 also is what an account hears that has lost its rights
            raise

    async def _pages(self, path: str, asked: Mapping[str, str]) -> AsyncIterator[Mapping[str, Any]]:
        for page in range(1, PAGES + 1):
            params = {**asked, "per_page": str(PAGE), "page": str(page)}
            answer = await self._request("GET", path, params=params)
            found = [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
            for each in found:
                yield each
            if len(found) < PAGE:
                return

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        missing: type[DeliveryError] = DestinationRefused,
    ) -> Mapping[str, Any]:
        answer = await self._request(method, path, body=body, files=files, missing=missing)
        return answer if isinstance(answer, dict) else {}

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        missing: type[DeliveryError] = DestinationRefused,
    ) -> Any:
        headers = self._headers()
        try:
            response = await self._http.request(
                method, f"{self._url}{path}", json=body, params=params, files=files, headers=headers
            )
        except httpx2.HTTPError as error:
            raise_for_transport(error)
        if failed := meaning(response, self._said(response), self._limited_s(response), missing):
            raise failed
        return decoded(response, self.whose)


# --- what answers mean ----------------------------------------------------------------------------------------------


def meaning(
    response: httpx2.Response, said: str, limited_s: float | None, missing: type[DeliveryError]
) -> DeliveryError | None:
    """Return what an answer is in our errors; None for one that carried the request out.

    `limited_s`: how long to wait where the forge says in its own way that we ask too much; `missing`: what 404 means.
    """
    status = response.status_code
    if 200 <= status < 300:
        return None
    reason = f"HTTP {status}{f': {one_line(said, 500)}' if said else ''}"
    asked_s = retry_after_s(response)
    if limited_s is not None or status in (409, 429) or (status in (403, 503) and asked_s is not None):
        return Transient(reason, status=status, retry_after_s=limited_s if asked_s is None else asked_s)
    if status >= 500:
        return Unknown(reason, status=status)
    if status in (301, 302, 307, 308, 404, 410):
        return missing(reason, status=status)
    if status in (400, 413, 422):
        return Refused(reason, status=status)
    return DestinationRefused(reason, status=status)


def decoded(response: httpx2.Response, whose: str) -> Any:
    """Return the answer's JSON. Raises Unknown for a page of a proxy or a portal with a good status."""
    try:
        return response.json() if response.content.strip() else {}
    except ValueError:
        status = response.status_code
        raise Unknown(f"the answer is not {whose} (HTTP {status}, no JSON)", status=status) from None


def error_body(response: httpx2.Response) -> Mapping[str, Any]:
    """Return an error's JSON object, empty where there is none."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, Mapping) else {}


def moment(text: object) -> datetime | None:
    """Return a time such as 2026-11-21T01:02:03Z."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else None


def until_reset_s(response: httpx2.Response, header: str, otherwise_s: float) -> float:
    """Return the wait until the moment that a header names by the answer's own clock: at most `LONGEST_S`."""
    try:
        now = parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
        wait_s = float(response.headers[header]) - now
    except (KeyError, TypeError, ValueError):
        return otherwise_s
    return min(max(wait_s, 1.0), LONGEST_S)


# --- labels ---------------------------------------------------------------------------------------------------------


def label_names(value: tuple[str, ...], most: int, cure: str) -> tuple[str, ...]:
    """Return configured labels. Raises ValueError for one that no issue can have: a comma parts labels."""
    fixed = [label for label in check_all(value) if not is_template(label)]
    if any(not label.strip() or "," in label or len(label) > most for label in fixed):
        raise ValueError(f"a label is empty, has a comma or more than {most} characters; {cure}")
    return value


def first_of(labels: Sequence[str], wanted: Sequence[str]) -> str:
    """Return the first label that is wanted, in whatever case; else the empty string."""
    known = {each.casefold() for each in wanted}
    return next((each for each in labels if each.casefold() in known), "")
