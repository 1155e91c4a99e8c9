"""Block Kit as Slack's API judges it: which messages are refused, and why.

Limits are those of Slack's published block reference; the total over all blocks is not published and was
measured by users at 12 to 13 thousand characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

MAX_BLOCKS = 50
MAX_BLOCKS_CHARS = 13_000
MAX_HEADER_CHARS = 150
MAX_SECTION_CHARS = 3_000
MAX_SECTION_FIELDS = 10
MAX_FIELD_CHARS = 2_000
MAX_CONTEXT_ELEMENTS = 10
MAX_ACTIONS = 25
MAX_BUTTON_CHARS = 75
MAX_BUTTON_VALUE_CHARS = 2_000
MAX_OPTIONS = 100
MAX_OVERFLOW = 5
MAX_OPTION_VALUE_CHARS = 150
MAX_PLACEHOLDER_CHARS = 150
MAX_URL_CHARS = 3_000
MAX_ID_CHARS = 255
MAX_ALT_CHARS = 2_000
MAX_MARKDOWN_CHARS = 12_000

_METADATA_TYPE = re.compile(r"^[a-z0-9_]+$")


class BlockProblem(ValueError):
    """One reason why Slack refuses a message, with the place as a JSON pointer."""

    def __init__(self, what: str, pointer: str, code: str = "invalid_blocks") -> None:
        super().__init__(f"{what} [json-pointer:{pointer}]")
        self.code = code


def check_blocks(blocks: object, pointer: str = "/blocks") -> None:
    """Raise `BlockProblem` for the first thing in `blocks` that Slack would refuse."""
    if not isinstance(blocks, list):
        raise BlockProblem("must be an array", pointer, "invalid_blocks_format")
    if len(blocks) > MAX_BLOCKS:
        raise BlockProblem(f"no more than {MAX_BLOCKS} items allowed", pointer)
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        place = f"{pointer}/{index}"
        if not isinstance(block, dict):
            raise BlockProblem("must be an object", place, "invalid_blocks_format")
        block_id = block.get("block_id")
        if block_id is not None:
            _text(block_id, MAX_ID_CHARS, f"{place}/block_id")
            if block_id in seen:
                raise BlockProblem("block_id already exists", f"{place}/block_id")
            seen.add(block_id)
        _check_block(block, place)
    if sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks) > MAX_BLOCKS_CHARS:
        raise BlockProblem("blocks are too long", pointer, "msg_blocks_too_long")


def check_metadata(metadata: object) -> None:
    """Raise `BlockProblem` unless `metadata` has Slack's form (`{}` is good: it removes metadata)."""
    if not isinstance(metadata, dict):
        raise BlockProblem("must be an object", "/metadata", "invalid_metadata_format")
    if not metadata:
        return
    event_type, payload = metadata.get("event_type"), metadata.get("event_payload")
    if not isinstance(event_type, str) or not _METADATA_TYPE.match(event_type):
        raise BlockProblem(
            "event_type must be lower case letters, digits, _", "/metadata/event_type", "invalid_metadata_format"
        )
    if not isinstance(payload, dict):
        raise BlockProblem("must be an object", "/metadata/event_payload", "invalid_metadata_format")


def _check_block(block: Mapping[str, Any], place: str) -> None:
    match block.get("type"):
        case "header":
            _text_object(block.get("text"), MAX_HEADER_CHARS, f"{place}/text", ("plain_text",))
        case "section":
            _section(block, place)
        case "context":
            for index, element in enumerate(_elements(block, MAX_CONTEXT_ELEMENTS, place)):
                if isinstance(element, dict) and element.get("type") == "image":
                    _image(element, f"{place}/elements/{index}")
                else:
                    _text_object(element, MAX_SECTION_CHARS, f"{place}/elements/{index}")
        case "actions":
            for index, element in enumerate(_elements(block, MAX_ACTIONS, place)):
                _element(element, f"{place}/elements/{index}")
        case "image":
            _image(block, place)
        case "markdown":
            _text(block.get("text"), MAX_MARKDOWN_CHARS, f"{place}/text")
        case "rich_text":
            for index, element in enumerate(_elements(block, MAX_BLOCKS * 10, place)):
                _rich_text(element, f"{place}/elements/{index}")
        case "divider":
            pass
        case other:
            raise BlockProblem(f"unsupported type: {other}", f"{place}/type")


def _section(block: Mapping[str, Any], place: str) -> None:
    fields = block.get("fields")
    if block.get("text") is None and not fields:
        raise BlockProblem("must have text or fields", place)
    if block.get("text") is not None:
        _text_object(block["text"], MAX_SECTION_CHARS, f"{place}/text")
    if fields is not None:
        if not isinstance(fields, list) or not 1 <= len(fields) <= MAX_SECTION_FIELDS:
            raise BlockProblem(f"1 to {MAX_SECTION_FIELDS} items allowed", f"{place}/fields")
        for index, item in enumerate(fields):
            _text_object(item, MAX_FIELD_CHARS, f"{place}/fields/{index}")
    if block.get("accessory") is not None:
        _element(block["accessory"], f"{place}/accessory")


def _element(element: object, place: str) -> None:
    if not isinstance(element, dict):
        raise BlockProblem("must be an object", place)
    kind = element.get("type")
    if kind == "image":
        _image(element, place)
        return
    if kind not in {"button", "static_select", "overflow"}:
        raise BlockProblem(f"unsupported type: {kind}", f"{place}/type")
    if element.get("action_id") is not None:
        _text(element["action_id"], MAX_ID_CHARS, f"{place}/action_id")
    if kind != "button":
        _choice(element, place, MAX_OVERFLOW if kind == "overflow" else MAX_OPTIONS)
        return
    _text_object(element.get("text"), MAX_BUTTON_CHARS, f"{place}/text", ("plain_text",))
    if element.get("value") is not None:
        _text(element["value"], MAX_BUTTON_VALUE_CHARS, f"{place}/value")
    if element.get("url") is not None:
        _text(element["url"], MAX_URL_CHARS, f"{place}/url")
    if element.get("style") not in {None, "primary", "danger"}:
        raise BlockProblem("must be primary or danger", f"{place}/style")


def _choice(element: Mapping[str, Any], place: str, most: int) -> None:
    if element["type"] == "static_select":
        _text_object(element.get("placeholder"), MAX_PLACEHOLDER_CHARS, f"{place}/placeholder", ("plain_text",))
    options = element.get("options")
    if not isinstance(options, list) or not 1 <= len(options) <= most:
        raise BlockProblem(f"1 to {most} items allowed", f"{place}/options")
    for index, option in enumerate(options):
        where = f"{place}/options/{index}"
        if not isinstance(option, dict):
            raise BlockProblem("must be an object", where)
        _text_object(option.get("text"), MAX_BUTTON_CHARS, f"{where}/text")
        _text(option.get("value"), MAX_OPTION_VALUE_CHARS, f"{where}/value")
    confirm = element.get("confirm")
    if confirm is not None:
        for name, chars in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            _text_object(confirm.get(name), chars, f"{place}/confirm/{name}")


def _image(image: Mapping[str, Any], place: str) -> None:
    _text(image.get("image_url"), MAX_URL_CHARS, f"{place}/image_url")
    _text(image.get("alt_text"), MAX_ALT_CHARS, f"{place}/alt_text")


def _rich_text(element: object, place: str) -> None:
    if not isinstance(element, dict):
        raise BlockProblem("must be an object", place)
    kind = element.get("type")
    if kind not in {"rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list"}:
        raise BlockProblem(f"unsupported type: {kind}", f"{place}/type")
    for index, child in enumerate(_elements(element, 1_000, place)):
        where = f"{place}/elements/{index}"
        if kind == "rich_text_list":
            _rich_text(child, where)
        elif not isinstance(child, dict) or not isinstance(child.get("type"), str):
            raise BlockProblem("must be an object with a type", where)
        elif child["type"] == "text" and not (isinstance(child.get("text"), str) and child["text"]):
            raise BlockProblem("must be more than 0 characters", f"{where}/text")


def _elements(block: Mapping[str, Any], most: int, place: str) -> Sequence[object]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= most:
        raise BlockProblem(f"1 to {most} items allowed", f"{place}/elements")
    return elements


def _text_object(value: object, most: int, place: str, kinds: tuple[str, ...] = ("mrkdwn", "plain_text")) -> None:
    if not isinstance(value, dict) or value.get("type") not in kinds:
        raise BlockProblem(f"must be a text object of type {' or '.join(kinds)}", place)
    _text(value.get("text"), most, f"{place}/text")


def _text(value: object, most: int, place: str) -> None:
    if not isinstance(value, str):
        raise BlockProblem("must be a string", place)
    if not value:
        raise BlockProblem("must be more than 0 characters", place)
    if len(value) > most:
        raise BlockProblem(f"must be less than {most + 1} characters", place)
