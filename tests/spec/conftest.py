"""Study files."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a study file with that text."""

    def _write(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return _write
