"""The service account that Kubernetes mounts into every pod."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def in_pod(folder: Path = ACCOUNT) -> bool:
    """Tell whether a service account is mounted here."""
    return (folder / "token").is_file()
