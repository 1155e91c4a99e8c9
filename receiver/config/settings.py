"""The base of every settings model, a destination kind's own included.

    class PagerDutySettings(Settings):
        secrets = ("routing_key",)          # accepts routing_key_file or routing_key_env
        routing_key: Secret
        url: Url = "https://events.pagerduty.com/v2/enqueue"

    class SlackSettings(Settings):
        secrets = ("app_token", "api_url")
        channel: str = ""
        app_token: Secret | None = None
        api_url: Secret | None = None

        @model_validator(mode="after")
        def _one_way_in(self) -> Self:
            if (self.app_token is None) == (self.api_url is None):
                raise ValueError("needs either app_token_file or api_url_file; give one of them")
            return self

An error raised by a validator of yours reads `what; cure`: the loader splits at the first `; ` and puts file, line,
column and key in front. Never put a value that may be a secret into it. Field types that help: `Url`, and `Duration`
(seconds) and `Size` (bytes) of `receiver.config.durations`. A field that takes any YAML (`dict[str, Any]`) gets numbers
and booleans as YAML reads them; `str` fields get the text as it was written, so that `project: NO` stays "NO".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from receiver.config.model import Secret

__all__ = [
    *("LinkUrl", "Names", "PathFromFile", "Scalar", "SecretFile", "SecretProblem", "Settings", "Url"),
    *("check_link", "plain"),
]

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Scalar(str):
    """A scalar of a YAML file: the text as written, which also remembers what YAML makes of it."""

    __slots__ = ("value",)
    value: Any

    def __new__(cls, text: str, value: Any) -> Scalar:
        self = super().__new__(cls, text)
        self.value = value
        return self


def plain(value: Any) -> Any:
    """Return `value` with every `Scalar` inside replaced by what YAML makes of it."""
    match value:
        case Scalar():
            return value.value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


@dataclass(frozen=True, slots=True)
class SecretProblem:
    """Stands in a secret's place when it cannot be used; pydantic then reports the field."""

    key: str
    text: str


class Settings(BaseModel):
    """Settings of one thing: frozen, and strict about unknown keys. See the module's docstring.

    Relative paths are relative to `context["base"]` (a Path) as given to `model_validate`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        defer_build=True,  # most kinds of destinations are not configured, and building a validator takes a while
    )

    secrets: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that are secrets: `x` is read from the keys `x_file` or `x_env`."""
    without: ClassVar[Mapping[str, str]] = {}
    """What it costs that a secret's file is not there yet, where that is not that nothing is sent."""

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, Mapping):
            return data
        base: Path = (info.context or {}).get("base", Path())
        prepared = dict(data)
        for name in cls.secrets:
            secret = _secret(name, prepared, base)
            prepared.pop(f"{name}_file", None)
            prepared.pop(f"{name}_env", None)
            if secret is not None:
                prepared[name] = secret
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if key in prepared and Any in _types(field.annotation):
                prepared[key] = plain(prepared[key])
        return prepared

    @classmethod
    def written_keys(cls) -> tuple[str, ...]:
        """Return the keys that may be written in the file."""
        found: list[str] = []
        for name, field in cls.model_fields.items():
            found += [f"{name}_file", f"{name}_env"] if name in cls.secrets else [field.alias or name]
        return tuple(found)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        properties = schema.get("properties", {})
        required: list[str] = schema.get("required", [])
        for name in cls.secrets:
            description = properties.pop(name, {}).get("description")
            for suffix, what in (("file", "path of the file that holds it"), ("env", "name of a variable")):
                text = f"{description or name}: {what}"
                properties[f"{name}_{suffix}"] = {"type": "string", "description": text}
            if name in required:
                required.remove(name)
                one = [{"required": [f"{name}_file"]}, {"required": [f"{name}_env"]}]
                schema.setdefault("allOf", []).append({"oneOf": one})
        return schema


def _secret(name: str, data: Mapping[str, Any], base: Path) -> Secret | SecretProblem | None:
    """Return the secret that `data` names, or None where it names none."""
    file_key, env_key = f"{name}_file", f"{name}_env"
    if isinstance(data.get(name), Secret | SecretProblem):
        return None  # built in code, not read from a file
    if name in data:
        return SecretProblem(name, f"a secret is never written here; put it into a file and write {file_key}: PATH")
    if file_key in data and env_key in data:
        return SecretProblem(env_key, f"{file_key} is given as well; keep one of the two")
    if file_key in data:
        path = data[file_key]
        if not isinstance(path, str | Path) or not str(path):
            return SecretProblem(file_key, "not a path; write the path of the file that holds the secret")
        return Secret(file=base / path)
    if env_key in data:
        variable = data[env_key]
        if not isinstance(variable, str) or not _ENV_NAME.fullmatch(variable):
            return SecretProblem(env_key, f"not the name of a variable; write such as {name.upper()}, without $")
        return Secret(env=str(variable))
    return None


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def check_link(value: str) -> str:
    """Return an http or https URL without sign-in as it was written. Raises ValueError, as `what; cure`."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or any(char.isspace() for char in value):
        raise ValueError("not a URL; write such as https://host/path")
    if parts.username is not None:
        raise ValueError("a sign-in inside a URL would show up in logs; take it out and give it as a secret file")
    return value


def _check_url(value: str) -> str:
    if "#" in check_link(value):
        raise ValueError("a URL to call has no #fragment; leave it out")
    return value


Url = Annotated[str, AfterValidator(_check_url)]
"""An http or https URL to call, without sign-in, kept as it was written."""

LinkUrl = Annotated[str, AfterValidator(check_link)]
"""An http or https URL for people to follow."""


def _from_file(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str | Path) and str(value):
        return (info.context or {}).get("base", Path()) / value
    raise ValueError("not a path; write the path of a file or directory")


PathFromFile = Annotated[Path, BeforeValidator(_from_file, json_schema_input_type=str)]
"""A path; a relative one is relative to the configuration file."""


def _secret_from_file(value: Any, info: ValidationInfo) -> Any:
    return value if isinstance(value, Secret) else Secret(file=_from_file(value, info))


SecretFile = Annotated[Secret, BeforeValidator(_secret_from_file, json_schema_input_type=str)]
"""A secret, written as the path of its file, for keys whose name says so."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
"""One name, or a list of names."""
