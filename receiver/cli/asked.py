"""What a command asks that is about one plan: a must-gather, one of the configuration's clusters, or kubectl's."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import yaml

from receiver import build
from receiver.cli.common import Exit
from receiver.cli.output import fail
from receiver.config.load import ConfigError, load
from receiver.config.model import Config, Route
from receiver.destinations.registry import ALL
from receiver.diagnose import UnknownPlanError
from receiver.kube import Cluster, ClusterError
from receiver.kube.account import in_pod
from receiver.kube.api import Limits
from receiver.kube.client import LiveCluster
from receiver.kube.kinds import is_name
from receiver.kube.mustgather import MustGather

DEFAULT_CONFIG = Path("routes.yaml")
_MAX_KUBECONFIG = 1_048_576

PlanArgument = Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="The migration plan.")]
MustGatherOption = Annotated[
    Path | None, typer.Option(metavar="DIR|TAR", help="Read a must-gather instead of a cluster.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="MTV_RECEIVER_CONFIG", help="The configuration. [default: routes.yaml]"),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """A cluster, and how people call it: `must-gather ./x.tar.gz`, `cluster east of routes.yaml`."""

    cluster: Cluster
    what: str


def plan_named(which: str, like: str) -> tuple[str, str]:
    """Return the namespace and the name of a plan. Exits 2 where it is none, with `like` as an example."""
    namespace, slash, name = which.partition("/")
    if not slash or not is_name(namespace) or not is_name(name):
        fail(Exit.USAGE, f"{which!r} is no plan", f"name it as NAMESPACE/NAME, for example {like}")
    return namespace, name


def config_or_default(file: Path | None) -> Config:
    """Return the configuration that is named, or ./routes.yaml, or one without anything in it. Exits 1 if it is bad."""
    if file is None and not DEFAULT_CONFIG.is_file():
        return Config(DEFAULT_CONFIG, Route(("nobody",)), {})
    try:
        return load(file or DEFAULT_CONFIG, ALL)
    except ConfigError as error:
        fail(Exit.NO, str(error).splitlines()[0], "see all of it by `mtv-receiver check`")


def choose(config: Config, must_gather: Path | None, name: str | None) -> Asked:
    """Return whom to ask: the must-gather, else the configured cluster, else what kubectl would ask. Exits 2 or 3."""
    default = next((one.name for one in config.clusters if not one.matchers), "") if config.receivers else ""
    if must_gather is not None:
        return Asked(MustGather(name or default or "must-gather", must_gather), f"must-gather {must_gather}")
    if name is not None:
        return _configured(config, name) or fail(
            Exit.UNASKED, f"cluster {name} has no kubeconfig_file, and this is no pod", f"give it one in {config.path}"
        )
    return (
        (_configured(config, default) if default else None)
        or _of_kubectl()
        or fail(Exit.UNASKED, "no cluster to ask", "give --must-gather, a configuration with clusters, or KUBECONFIG")
    )


@asynccontextmanager
async def opened(config: Config, asked: Asked) -> AsyncIterator[dict[str, Cluster]]:
    """Hold the clusters of the configuration open, none beside a must-gather; at the end the one that is asked, too."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asked.cluster.aclose)
        clusters = {} if isinstance(asked.cluster, MustGather) else build.clusters(config)
        for other in clusters.values():
            stack.push_async_callback(other.aclose)
        yield clusters


@contextmanager
def answering(asked: Asked) -> Iterator[None]:
    """Exit 2 where there is no such plan, and 3 where whoever is asked cannot tell."""
    try:
        yield
    except UnknownPlanError as error:
        _refuse(Exit.USAGE, str(error))
    except ClusterError as error:
        _refuse(Exit.UNASKED, error.message if ";" in error.message else f"{error.message}; asked: {asked.what}")


def _refuse(code: Exit, text: str) -> NoReturn:
    """Say why there is no answer. What stands in files and answers of others may hold anything."""
    line = "".join(char if char.isprintable() else " " for char in text)
    sys.stderr.write(f"{' '.join(line.split())}\n")
    raise typer.Exit(code)


def _configured(config: Config, name: str) -> Asked | None:
    """Return a cluster of the configuration; None for the pod's own outside a pod."""
    wanted = tuple(one for one in config.clusters if one.name == name)
    if not wanted:
        known = ", ".join(one.name for one in config.clusters)
        cure = f"there are {known}" if known else f"{config.path} names none; leave --cluster out"
        fail(Exit.USAGE, f"--cluster: no cluster is called {name}", cure)
    cluster = build.cluster(wanted[0])
    return None if cluster is None else Asked(cluster, f"cluster {name} of {config.path.name}")


def _of_kubectl() -> Asked | None:
    file = kubeconfig_file(os.environ, Path.home())
    if file is not None:
        context = current_context(file)
        name = context if is_name(context) else "kubeconfig"
        cluster = LiveCluster.from_kubeconfig(name, file, limits=Limits(trust_env=True))
        return Asked(cluster, f"kubeconfig {file}" + (f", context {context}" if context else ""))
    return Asked(LiveCluster.from_service_account("local"), "this pod's own cluster") if in_pod() else None


def kubeconfig_file(environment: Mapping[str, str], home: Path) -> Path | None:
    """Return the file that kubectl would use. Of several in KUBECONFIG the first that names a current context."""
    named = [Path(one) for one in environment.get("KUBECONFIG", "").split(os.pathsep) if one]
    if not named:
        file = home / ".kube" / "config"
        return file if file.is_file() else None
    there = [one for one in named if one.is_file()]
    return next((one for one in there if current_context(one)), there[0] if there else named[0])


def current_context(file: Path) -> str:
    """Return the current context of a kubeconfig, or the empty string."""
    try:
        if not stat.S_ISREG(file.stat().st_mode) or file.stat().st_size > _MAX_KUBECONFIG:
            return ""
        document = yaml.safe_load(file.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return ""
    context = document.get("current-context") if isinstance(document, dict) else None
    return context if isinstance(context, str) and context.isprintable() else ""
