"""Workers, databases and disks that fail: in the end it looks as if nothing had happened, to the last bit.

Each campaign in its short form; `python benchmarks/chaos.py` runs the full ones. A failure names its seed and the
folder with the logs.
"""

from __future__ import annotations

import sys

import pytest
from campaigns import CAMPAIGNS
from oracle import complaints, undisturbed
from places import study_of

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="signals, /proc and tmpfs as Linux has them"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize(
    ("name", "backend"), [(name, backend) for name, campaign in CAMPAIGNS.items() for backend in campaign.backends]
)
def test_nothing_is_lost_whatever_happens(name, backend, place_on):
    campaign = CAMPAIGNS[name]
    place = place_on(backend, tables=campaign.tables, lease_s=campaign.lease_s)

    try:
        counts = campaign.run(place, **campaign.short)
    except PermissionError as error:
        pytest.skip(str(error))

    print(counts)
    assert counts.get("damaged ones accepted", 0) == 0


def test_the_oracle_complains_of_a_study_that_nobody_trained(place):
    spec = study_of(2)
    with place.open() as store:
        store.studies.create(spec)

        found = "\n".join(complaints(store, spec.name, undisturbed(spec)))

    assert "trial 0 is still queued" in found and "36 rows lost" in found and "Optuna has the trials []" in found
