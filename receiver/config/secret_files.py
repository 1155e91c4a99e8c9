"""Are the files there that hold secrets? Their content is never looked at here."""

from __future__ import annotations

from receiver.config.model import Secret
from receiver.config.positions import Path
from receiver.config.problems import Problems


def warn_of_missing(secret: Secret, path: Path, problems: Problems, until: str = "nothing is sent here") -> None:
    """Warn of a secret file that is not there yet: what needs it will be parked, which is no reason to refuse."""
    if secret.file is not None and not secret.file.is_file():
        problems.warn(path, f"there is no file {secret.file}", f"create or mount it: until then {until}")
