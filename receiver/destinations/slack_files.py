"""Whole logs as files in a message's thread: three calls, of which only the last shows anything.

    files.getUploadURLExternal    a place for the bytes: nothing to see
    POST to that place            the bytes: nothing to see
    files.completeUploadExternal  the file stands in the thread

So an unanswered call of the first two is simply begun anew; an unanswered last one is looked for in the thread, by the
file's name, which is of one log of one run. A file that Slack refuses (scope, size, workspace rules) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import httpx2

from receiver.destinations import Step
from receiver.destinations.logfiles import LogFile, logfiles
from receiver.destinations.slack_api import SlackApi, belongs
from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.fitting import one_line
from receiver.http import raise_for_transport, retry_after_s
from receiver.model import Receipt, Wanted

MAX_TRIES = 6
"""Then a file is left out: its server may be behind a firewall that lets only the Web API through."""
_DONE = ("files", "skipped")


def next_file(wanted: Wanted, content: str, root: Receipt) -> Step | None:
    """Return the step that uploads the next log that says more than the message does. Pure."""
    for file in logfiles(wanted, content):
        if any(file.part in (root.get(kept) or {}) for kept in _DONE) or not _says_more(file, wanted):
            continue
        text = file.text
        if not text.strip():
            continue
        body = {
            "filename": file.name,
            "length": len(_bytes(text)),
            "channel_id": root["channel"],
            "thread_ts": root["ts"],
        }
        return Step(file.part, "file", body, creates=True, extra={"text": text, "kept_in_root": True})
    return None


async def upload(api: SlackApi, http: httpx2.AsyncClient, step: Step, tries: int) -> Receipt:
    """Upload a file into its thread. Raises Transient, Refused, and Unknown of the last call only."""
    if tries >= MAX_TRIES:
        raise Refused(f"log file left out after {tries} tries")
    name = step.body["filename"]
    try:
        file = await _place_bytes(api, http, step)
    except (Transient, Unknown, DestinationRefused, Gone) as error:  # nobody can see what it may have done
        raise _later(error) from None
    listed = [{"id": file, "title": name}]
    body = {"files": listed, "channel_id": step.body["channel_id"], "thread_ts": step.body["thread_ts"]}
    try:
        await api.call("files.completeUploadExternal", body)
    except (Transient, DestinationRefused, Gone) as error:
        raise _later(error) from None
    return {"files": {step.part: file}}


def found_in(message: Mapping[str, Any], step: Step) -> Receipt | None:
    """Return the file's receipt where a message of the thread holds it."""
    files = message.get("files")
    for file in files if isinstance(files, list) else ():
        if isinstance(file, Mapping) and step.body["filename"] in (file.get("name"), file.get("title")):
            return {"files": {step.part: str(file.get("id", ""))}}
    return None


async def _place_bytes(api: SlackApi, http: httpx2.AsyncClient, step: Step) -> str:
    asked = {"filename": step.body["filename"], "length": step.body["length"]}
    answer = await api.call("files.getUploadURLExternal", asked, form=True)
    url, file = answer.get("upload_url"), answer.get("file_id")
    if not isinstance(url, str) or not isinstance(file, str) or not belongs(url, api.url):
        raise Refused("files.getUploadURLExternal: the answer names no place of Slack's")
    try:
        headers = {"Content-Type": "application/octet-stream"}
        response = await http.post(url, content=_bytes(step.extra["text"]), headers=headers)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        raise Refused("files.getUploadURLExternal: the answer names no place of Slack's") from None
    except httpx2.HTTPError as error:
        raise_for_transport(error)
    if response.status_code != 200:
        _raise_for_status(response)
    return file


def _raise_for_status(response: httpx2.Response) -> NoReturn:
    status = response.status_code
    reason = f"upload of the bytes: HTTP {status}"
    if status == 429 or status >= 500:
        raise Transient(reason, status=status, retry_after_s=retry_after_s(response))
    raise Refused(f"{reason}: {one_line(response.text, 100)}", status=status)


def _later(error: DeliveryError) -> DeliveryError:
    """Return what a failure means that showed nobody anything: never that the channel refuses messages."""
    if isinstance(error, DestinationRefused | Gone):
        return Refused(f"log file left out: {error.reason}", status=error.status)
    wait = error.retry_after_s if isinstance(error, Transient) else None
    return Transient(f"log file: {error.reason}", status=error.status, retry_after_s=wait)


def _says_more(file: LogFile, wanted: Wanted) -> bool:
    evidence = wanted.story.evidence
    excerpts = evidence.logs if evidence else ()
    shown = next((len(one.lines) for one in excerpts if one.kept == file.packed), 0)
    return len([line for line in file.text.splitlines() if line.strip()]) > shown


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")
