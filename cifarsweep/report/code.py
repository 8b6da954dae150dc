"""Which code wrote a page, as far as that is known where it is written."""

from __future__ import annotations

import json
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from cifarsweep import __version__
from cifarsweep.environment import without_database

_PATIENCE_S = 5


@lru_cache(maxsize=1)
def code_version() -> str:
    """The version, with its commit where the package runs from a checkout or was installed from one. Never fails."""
    commit = _of_checkout(Path(__file__).parents[2]) or _of_install()
    return f"cifarsweep {__version__}, commit {commit}" if commit else f"cifarsweep {__version__}"


def _of_checkout(root: Path) -> str | None:
    # Only its own: an environment may stand inside the checkout of something else.
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=without_database()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return (ended.stdout.strip() or None) if ended.returncode == 0 else None


def _of_install() -> str | None:
    """As pip writes it down (https://packaging.python.org/en/latest/specifications/direct-url/)."""
    try:
        origin = json.loads(distribution("cifarsweep").read_text("direct_url.json") or "{}")
        commit = origin.get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, OSError, ValueError, AttributeError):
        return None
    return commit[:12] if isinstance(commit, str) else None
