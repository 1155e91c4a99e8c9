"""`receivers:` → receivers and their destinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from receiver.config.http_settings import HttpWire, TLSWire, resolve_http
from receiver.config.matching import check_names
from receiver.config.model import DestinationConfig, Manners, Receiver, Secret
from receiver.config.positions import Path
from receiver.config.problems import Problems
from receiver.config.reader import Reader
from receiver.config.secret_files import warn_of_missing
from receiver.config.settings import Settings
from receiver.config.wire import EntryWire, ReceiverWire

if TYPE_CHECKING:
    from receiver.destinations import Kind

_MANNERS_KEYS: Final = {
    "timeout_s": "timeout",
    "max_in_flight": "max_in_flight",
    "retry_min_s": "retry",
    "retry_max_s": "retry",
    "lookup_grace_s": "lookup_grace",
    "rate_per_minute": "rate_limit",
    "rate_burst": "rate_limit",
}


def read_receivers(
    raw: Any, path: Path, reader: Reader, kinds: Sequence[Kind], *, shadow: bool = False
) -> dict[str, Receiver]:
    """Return the receivers by name, in file order. `shadow`: all of them do everything but send."""
    found: dict[str, Receiver] = {}
    places: dict[str, Path] = {}
    destination_paths: dict[str, Sequence[Path]] = {}
    entries = reader.sequence(raw, path)
    if not entries and isinstance(raw, list):
        reader.problems.add(path, "empty", "define at least the receiver that the root route names")
    for at, item in enumerate(entries):
        where = (*path, at)
        read = _receiver(reader.mapping(item, where), where, reader, kinds, shadow=shadow)
        if read is None:
            continue
        receiver, paths = read
        if receiver.name in found:
            first = reader.problems.seen_from((*places[receiver.name], "name"), where)
            what = f"the name {receiver.name!r} is taken by the receiver in {first}"
            reader.problems.add((*where, "name"), what, "join the two, or rename one")
            continue
        found[receiver.name] = receiver
        places[receiver.name] = where
        destination_paths[receiver.name] = paths
    _check_fallbacks(found, places, reader.problems)
    _check_identities(found, destination_paths, reader.problems)
    return found


def _receiver(
    raw: Mapping[str, Any], path: Path, reader: Reader, kinds: Sequence[Kind], *, shadow: bool
) -> tuple[Receiver, Sequence[Path]] | None:
    by_key = {kind.config_key: kind for kind in kinds}
    lists = {key: value for key, value in raw.items() if key.endswith("_configs")}
    rest = {key: value for key, value in raw.items() if key not in lists}
    wire = reader.read(ReceiverWire, rest, path, also=by_key) if raw else None
    name = wire.name if wire else ""
    if shadow and wire is not None and wire.shadow is False:
        what = "has no effect: shadow at the top is true, and holds for every receiver"
        cure = "remove the one at the top, and set shadow: true at each receiver that is to stay in shadow"
        reader.problems.add((*path, "shadow"), what, cure)
    shadow = shadow or (wire is not None and wire.shadow is True)
    destinations: dict[Path, DestinationConfig] = {}
    for key, value in lists.items():
        where = (*path, key)
        kind = by_key.get(key)
        if kind is None:
            reader.problems.add(
                where, "unknown kind of destination", f"there are {', '.join(sorted(by_key))}", on_key=True
            )
            continue
        for at, entry in enumerate(reader.sequence(value, where)):
            data = reader.mapping(entry, (*where, at))
            if entry == {}:
                reader.problems.add((*where, at), "empty", f"give the keys of one of {key}, or remove it")
            one = _destination(data, (*where, at), reader, kind, name) if data else None
            if one is not None:
                destinations[(*where, at)] = replace(one, shadow=shadow)
    if wire is None:
        return None
    if not any(lists.values()):
        what = "has no destination: nobody is told what is routed to it"
        reader.problems.warn(path, what, f"add one of {', '.join(sorted(by_key))}")
    return Receiver(wire.name, tuple(destinations.values()), wire.fallback), tuple(destinations)


def _destination(
    raw: Mapping[str, Any], path: Path, reader: Reader, kind: Kind, receiver: str
) -> DestinationConfig | None:
    common_keys = set(EntryWire.written_keys())
    common = reader.read(EntryWire, {key: raw[key] for key in raw if key in common_keys}, path)
    own = {key: value for key, value in raw.items() if key not in common_keys}
    model: type[Settings] = kind.settings
    settings = reader.read(model, own, path, also=common_keys)
    if common is None or settings is None:
        return None
    problems = reader.problems
    if common.template and not common.template.is_dir():
        what = f"there is no directory {common.template}"
        problems.add((*path, "template"), what, "create it, or remove the line")
    for key, secret in secrets_of(settings):
        until = model.without.get(str(key[-1]).removesuffix("_file"), "nothing is sent here")
        warn_of_missing(secret, (*path, *key), problems, until)
    http = resolve_http(common.http_config, (*path, "http_config"), problems)
    if not getattr(kind, "speaks_http", True):
        resolve_http(HttpWire(tls_config=getattr(settings, "tls_config", TLSWire())), path, problems)  # its warnings
        if "http_config" in raw:
            what = "no effect: mail is not sent over HTTP, and there are no proxies for SMTP"
            problems.warn((*path, "http_config"), what, "remove it; TLS is set by tls_config, beside smarthost")
    grace = common.lookup_grace
    per_minute, burst = _rate(common, settings)
    identity = f"{kind.kind}:name:{common.name}" if common.name else f"{kind.kind}:{kind.target(settings)}"
    return DestinationConfig(
        kind=kind.kind,
        identity=identity,
        receiver=receiver,
        position=problems.position(path),
        settings=settings,
        name=common.name,
        send_resolved=common.send_resolved,
        content=common.content,
        templates_dir=common.template,
        http=http,
        manners=Manners(
            timeout_s=common.timeout,
            max_in_flight=common.max_in_flight,
            retry_min_s=common.retry.min,
            retry_max_s=common.retry.max,
            lookup_grace_s=_lookup_grace_s(kind, settings) if grace is None else grace,
            rate_per_minute=per_minute,
            rate_burst=burst,
        ),
    )


def _rate(common: EntryWire, settings: Settings) -> tuple[float | None, int]:
    """Return requests a minute (None: no limit) and how many at once: what is written, else the kind's default.

    A kind's settings have a `default_rate_limit` only where its vendor punishes who goes on past a limit (GitHub bans
    integrations). Slack (about a message a second and channel) and PagerDuty (120 events a minute and key) answer 429
    and say when to come again, which is honoured for the whole destination. A limit of ours would only slow the first
    pages and messages of a storm, since both let bursts pass that nobody has published.
    """
    if common.rate_limit:
        return common.rate_limit.per_minute, common.rate_limit.burst
    default: tuple[float, int] | None = getattr(settings, "default_rate_limit", None)
    return default or (None, 1)


def _lookup_grace_s(kind: Kind, settings: Settings) -> float:
    """Return the default of the settings or of their kind, where either has one of its own."""
    of_kind = getattr(kind, "default_lookup_grace_s", Manners().lookup_grace_s)
    return float(getattr(settings, "default_lookup_grace_s", of_kind))


def secrets_of(settings: Settings) -> list[tuple[Path, Secret]]:
    """Return the secrets that are set, by the key of their file."""
    found: list[tuple[Path, Any]] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        own = f"{name}_file" if name in settings.secrets else name
        found += [((name, key), each) for key, each in value.items()] if isinstance(value, dict) else [((own,), value)]
    return [(key, secret) for key, secret in found if isinstance(secret, Secret)]


def _check_fallbacks(found: Mapping[str, Receiver], places: Mapping[str, Path], problems: Problems) -> None:
    for name, receiver in found.items():
        path = (*places[name], "fallback")
        if not receiver.fallback:
            continue
        if receiver.fallback == name:
            problems.add(path, "a receiver cannot stand in for itself", "name another receiver")
            continue
        check_names([receiver.fallback], found, "receiver", path, problems)
        behind = found[receiver.fallback].fallback if receiver.fallback in found else ""
        if behind:
            what = f"when {receiver.fallback} stands in for {name}, its own fallback {behind} is not used"
            problems.warn(path, what, "a fallback has no fallback: name a receiver that is surely reached")
        if _is_shadow(found.get(receiver.fallback)) and not _is_shadow(receiver):
            what = f"{receiver.fallback} is in shadow mode: nobody there is told when {name} cannot be"
            problems.warn(path, what, f"end the shadow of {receiver.fallback} first, or name another receiver")


def _is_shadow(receiver: Receiver | None) -> bool:
    return receiver is not None and any(one.shadow for one in receiver.destinations)


def _check_identities(found: dict[str, Receiver], paths: Mapping[str, Sequence[Path]], problems: Problems) -> None:
    """One identity is one destination, so all that it is told to do must agree; drop what is listed twice."""
    first: dict[str, DestinationConfig] = {}
    for name, receiver in found.items():
        kept: dict[str, DestinationConfig] = {}
        for one, path in zip(receiver.destinations, paths[name], strict=True):
            other = first.setdefault(one.identity, one)
            if one.shadow != other.shadow:
                ours, theirs = (name, other.receiver) if one.shadow else (other.receiver, name)
                what = f"the same destination as in {other.position}, in shadow for {ours} and live for {theirs}"
                problems.add(path, what, "let both receivers be the same, or give one of them a name: of its own")
            elif differing := _differences(one, other):
                what = f"the same destination as in {other.position}, with other settings ({', '.join(differing)})"
                problems.add(path, what, "make the two equal, or give one of them a name: of its own")
            elif one.identity in kept:
                problems.warn(path, f"listed twice: the same destination as in {other.position}", "remove it")
            kept.setdefault(one.identity, one)
        found[name] = replace(receiver, destinations=tuple(kept.values()))


def _differences(one: DestinationConfig, other: DestinationConfig) -> list[str]:
    """Return the keys, roughly as written, in which two entries differ."""
    names = [key for key in ("name", "send_resolved", "content") if getattr(one, key) != getattr(other, key)]
    names += ["template"] if one.templates_dir != other.templates_dir else []
    names += ["http_config"] if one.http != other.http else []
    for field in fields(Manners):
        if getattr(one.manners, field.name) != getattr(other.manners, field.name):
            names.append(_MANNERS_KEYS[field.name])
    for key in type(one.settings).model_fields:
        if getattr(one.settings, key) != getattr(other.settings, key):
            names.append(key)
    return list(dict.fromkeys(names))
