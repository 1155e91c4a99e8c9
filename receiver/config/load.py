"""routes.yaml → a frozen `Config`, or every problem at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import re2

from receiver.config.causes_files import read_causes_files
from receiver.config.doctor_wire import read_doctor
from receiver.config.handover_wire import read_handover
from receiver.config.include import read_include
from receiver.config.model import Config, Receiver, Route
from receiver.config.namespace_routing import NamespaceRouting
from receiver.config.namespace_routing_wire import read_namespace_routing
from receiver.config.positions import YamlError, read_yaml
from receiver.config.problems import ConfigError, Problem, Problems, dotted
from receiver.config.reader import Reader
from receiver.config.receivers import read_receivers
from receiver.config.routes import Names, read_route, read_time_intervals
from receiver.config.sections import (
    DEFAULT_CLUSTERS,
    DEFAULT_SUBJECTS,
    plan_alert_names,
    read_actions,
    read_alertmanagers,
    read_clusters,
    read_global,
    read_heartbeat,
    read_storage,
    read_subjects,
    read_watch,
)
from receiver.config.sources import Sources
from receiver.config.web import check_visibility, read_web
from receiver.config.wire import (
    RedactionWire,
    RestWire,
    RoutesFile,
)

if TYPE_CHECKING:
    from receiver.destinations import Kind

__all__ = ["ConfigError", "Problem", "check", "load"]


def load(path: Path, kinds: Sequence[Kind]) -> Config:
    """Return the configuration. Raises ConfigError with every problem; warnings are not among them.

    Reads the file and looks whether files that it names exist; reads no secret and asks nobody.
    """
    config, problems = check(path, kinds)
    if config is None:
        raise ConfigError(problem for problem in problems if not problem.warning)
    return config


def check(path: Path, kinds: Sequence[Kind]) -> tuple[Config | None, tuple[Problem, ...]]:
    """Return the configuration, None where it cannot be used, and all problems and warnings in file order."""
    return check_sources(Sources(path), kinds)


def check_sources(sources: Sources, kinds: Sequence[Kind]) -> tuple[Config | None, tuple[Problem, ...]]:
    """Do the same for what comes from anywhere."""
    file = str(sources.path)
    try:
        content = sources.main()
    except OSError as error:
        cure = "name an existing file by --config or MTV_RECEIVER_CONFIG"
        return None, (Problem(file, 1, 1, "", f"cannot be read ({error.strerror})", cure),)
    try:
        document = read_yaml(content)
    except YamlError as error:
        at = error.place
        return None, (Problem(file, at.line, at.column, dotted(error.path[:6]), error.what, error.cure),)
    problems = Problems(file, document)
    if document.value is None or document.value == {}:
        problems.add((), "the file is empty", "give at least receivers and route")
    elif not isinstance(document.value, dict):
        problems.add((), "not a mapping", "write keys such as receivers: and route:")
    if problems.sorted():
        return None, problems.sorted()
    for key in sources.unread:
        if key in document.value:
            problems.warn((key,), "not read here: files are left alone", "it counts where the configuration is served")
            del document.value[key]
    config = _File(problems, sources, kinds).config()
    found = problems.sorted()
    return (None if any(not problem.warning for problem in found) else config), found


class _File:
    """One file, with those that it includes, while it is read: all sections, whatever is wrong with the others."""

    def __init__(self, problems: Problems, sources: Sources, kinds: Sequence[Kind]) -> None:
        self._included = read_include(problems, sources)
        self._raw: dict[str, Any] = problems.document.value
        self._problems = problems
        self._sources = sources
        self._kinds = kinds
        self._reader = Reader(problems, sources.folder)

    def config(self) -> Config | None:
        """Return the configuration, or None where it has no receivers or route that could be used."""
        raw, reader = self._raw, self._reader
        self._top_level()
        rest = self._rest()
        receivers = self._receivers(shadow=rest is not None and rest.shadow)
        global_ = read_global(raw.get("global", {}), ("global",), reader)
        web = read_web(raw.get("web", {}), ("web",), reader)
        watch = read_watch(raw.get("watch", {}), ("watch",), reader)
        actions = read_actions(raw.get("actions", {}), ("actions",), reader)
        alertmanagers = read_alertmanagers(raw.get("alertmanagers", []), ("alertmanagers",), reader)
        clusters = DEFAULT_CLUSTERS
        if "clusters" in raw:
            clusters = read_clusters(raw["clusters"], ("clusters",), reader)
        check_visibility(web.visibility, ("web", "visibility"), clusters, self._problems)
        subjects = DEFAULT_SUBJECTS
        if "subjects" in raw:
            subjects = read_subjects(raw["subjects"], ("subjects",), reader)
        storage = read_storage(raw.get("storage", {}), ("storage",), reader)
        intervals = read_time_intervals(raw.get("time_intervals", []), ("time_intervals",), reader)
        names = Names(
            receivers=self._receiver_names(receivers),
            intervals=self._named("time_intervals"),
            plan_alerts=plan_alert_names(subjects),
            reads_namespaces="namespace_routing" in raw,
        )
        route = read_route(raw["route"], ("route",), reader, names) if "route" in raw else None
        heartbeat = None
        if "heartbeat" in raw:
            heartbeat = read_heartbeat(raw["heartbeat"], ("heartbeat",), reader, names.receivers)
        handover = None
        if "handover" in raw:
            handover = read_handover(raw["handover"], ("handover",), reader, names.receivers)
        doctor = read_doctor(raw.get("doctor", {}), ("doctor",), reader, names.receivers)
        chosen = None
        if "namespace_routing" in raw:
            raw_chosen = raw["namespace_routing"]
            chosen = read_namespace_routing(raw_chosen, ("namespace_routing",), reader, receivers, self._kinds)
        causes_files = rest.causes_files if rest else ()
        causes, wrong = read_causes_files(causes_files, ("causes_files",), self._problems, self._sources)
        self._problems.take(wrong)
        self._warn_of_dead_buttons(actions.allow)
        if route is not None:
            self._refuse_silent_root(route, receivers)
            if not self._included.broken:
                self._warn_of_unused(route, receivers, chosen)
        if route is None or not route.receivers:
            return None
        files = self._files(rest, receivers)
        return Config(
            path=self._sources.path,
            route=route,
            receivers=receivers,
            global_=global_,
            web=web,
            watch=watch,
            heartbeat=heartbeat,
            handover=handover,
            doctor=doctor,
            namespace_routing=chosen,
            actions=actions,
            alertmanagers=alertmanagers,
            clusters=clusters,
            subjects=subjects,
            time_intervals=intervals,
            templates_dir=rest.templates if rest else None,
            redaction_patterns=self._redaction(),
            runbooks=dict(rest.runbooks) if rest else {},
            causes=causes,
            storage=storage,
            hash=self._sources.hash,
            files=files,
            included=self._included.files,
            globs=self._included.globs,
        )

    def _top_level(self) -> None:
        known = RoutesFile.written_keys()
        for key in self._raw:
            if key not in known:
                self._reader.unknown_key((key,), known)
        for path, place, first in self._problems.document.duplicates:
            self._problems.at(place, path, f"stands here a second time, first in line {first.line}", "keep one of them")
        for key in ("receivers", "route"):
            if key not in self._raw and not (key == "receivers" and self._included.broken):
                self._problems.add((), f"{key} is missing", f"add {key}: …")

    def _receivers(self, *, shadow: bool) -> dict[str, Receiver]:
        if "receivers" not in self._raw:
            return {}
        return read_receivers(self._raw["receivers"], ("receivers",), self._reader, self._kinds, shadow=shadow)

    def _receiver_names(self, receivers: Mapping[str, Receiver]) -> Mapping[str, Receiver | None]:
        """Return all names, of receivers with problems too: those are said once, at the receiver."""
        return {**self._named("receivers"), **receivers}

    def _named(self, section: str) -> dict[str, None]:
        items = self._raw.get(section)
        named = [item.get("name") for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
        return {str(name): None for name in (*named, *self._included.names) if isinstance(name, str) and name}

    def _section(self, model: type[Any], key: str) -> Any:
        if key not in self._raw:
            return None
        return self._reader.read(model, self._reader.mapping(self._raw[key], (key,)), (key,))

    def _redaction(self) -> tuple[str, ...]:
        wire: RedactionWire | None = self._section(RedactionWire, "redaction")
        good: list[str] = []
        for at, pattern in enumerate(wire.patterns if wire else ()):
            path = ("redaction", "patterns", at)
            try:
                re2.compile(pattern, _quiet())
            except re2.error as error:
                detail = error.args[0].decode("utf-8", "replace") if error.args else "RE2 refuses it"
                self._problems.add(path, f"not a regular expression ({detail})", "correct it (RE2 syntax)")
            else:
                good.append(pattern)
        return tuple(good)

    def _rest(self) -> RestWire | None:
        given = {key: self._raw[key] for key in RestWire.written_keys() if key in self._raw}
        rest = self._reader.read(RestWire, given, ())
        if rest and rest.templates and not rest.templates.is_dir():
            self._problems.add(
                ("templates",), f"there is no directory {rest.templates}", "create it, or remove the line"
            )
        return rest

    def _files(self, rest: RestWire | None, receivers: Mapping[str, Receiver]) -> tuple[Path, ...]:
        own = {one.templates_dir for receiver in receivers.values() for one in receiver.destinations}
        folders = sorted(one for one in {*own, rest.templates if rest else None} if one is not None)
        for folder in folders:
            self._sources.templates(folder)
        causes = rest.causes_files if rest else ()
        return (self._sources.path, *self._included.files, *causes, *folders)

    def _refuse_silent_root(self, route: Route, receivers: Mapping[str, Receiver]) -> None:
        """What matches no other route must reach somebody. Receivers with problems of their own are said there."""
        listed = self._raw["receivers"] if isinstance(self._raw.get("receivers"), list) else []
        silent = {
            item.get("name")
            for item in listed
            if isinstance(item, Mapping) and not any(item[key] for key in item if key.endswith("_configs"))
        }
        if route.receivers and all(name in receivers and name in silent for name in route.receivers):
            what = f"{' and '.join(route.receivers)} without a destination: nobody is told what matches no other route"
            self._problems.add(
                ("route", "receiver"), what, "name a receiver that has one, or give this one a destination"
            )

    def _warn_of_dead_buttons(self, allowed: Sequence[str]) -> None:
        """Slack's buttons that change something are for whom `actions.allow` names: without it for nobody."""
        place = next(self._ways_to_press(), None)
        if place is not None and not allowed:
            what = "nobody may press the buttons that this adds in Slack: actions.allow names nobody"
            cure = "name people by e-mail address, or a user group, in actions.allow"
            self._problems.warn(place, what, cure, on_key=True)

    def _ways_to_press(self) -> Iterator[tuple[str | int, ...]]:
        web = self._raw.get("web")
        for key in ("slack_signing_secret_file", "slack_signing_secret_env"):
            if isinstance(web, Mapping) and web.get(key):
                yield "web", key
        receivers = self._raw.get("receivers")
        for at, receiver in enumerate(receivers if isinstance(receivers, list) else ()):
            entries = receiver.get("slack_configs") if isinstance(receiver, Mapping) else None
            for number, entry in enumerate(entries if isinstance(entries, list) else ()):
                for key in ("socket_token_file", "socket_token_env"):
                    if isinstance(entry, Mapping) and entry.get(key):
                        yield "receivers", at, "slack_configs", number, key

    def _warn_of_unused(self, route: Route, receivers: Mapping[str, Receiver], chosen: NamespaceRouting | None) -> None:
        used = {name for node in _nodes(route) for name in node.receivers}
        used |= {receiver.fallback for receiver in receivers.values()}
        sections = (self._raw.get(name) for name in ("heartbeat", "handover", "doctor"))
        used |= {str(section.get("receiver")) for section in sections if isinstance(section, Mapping)}
        used |= {name for name in receivers if chosen is not None and chosen.may_name(name)}
        for at, item in enumerate(self._raw.get("receivers") or ()):
            name = item.get("name") if isinstance(item, Mapping) else None
            if isinstance(name, str) and name and name not in used:
                what = f"no route uses the receiver {str(name)!r}"
                self._problems.warn(("receivers", at, "name"), what, "name it in a route, or remove it", on_key=False)


def _nodes(route: Route) -> Iterator[Route]:
    yield route
    for child in route.routes:
        yield from _nodes(child)


def _quiet() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options
