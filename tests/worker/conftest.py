"""A database with one study for a worker to train."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.study import Study
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing


@pytest.fixture
def timing() -> Timing:
    """How long a lease lasts: so long that it does not run out though the machine may pause for some seconds."""
    return Timing(lease_s=12.0, beat_s=1.0)


@pytest.fixture
def study() -> Study:
    """What is to be trained."""
    return read_study(find("demo"))


@pytest.fixture
def store(tmp_path: Path, timing: Timing, study: Study) -> Iterator[Store]:
    """The database, which is `test.db` in the folder of the test."""
    with Store.open(f"sqlite:///{tmp_path}/test.db", upgrade=True, timing=timing) as opened:
        opened.studies.create(study)
        yield opened


@pytest.fixture
def url(tmp_path: Path, study: Study) -> str:
    """The URL of such a database, for processes that open it themselves."""
    url = f"sqlite:///{tmp_path}/test.db"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(study)
    return url
