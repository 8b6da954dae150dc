"""The sections of a page: resources."""

from typing import Any

from everything import everything

from cifarsweep.analysis.results import cell_results
from cifarsweep.report.sections import resource_table


def test_resources_are_means_highest_values_and_totals(make: Any) -> None:
    report = everything(make)

    table = resource_table(report, cell_results(report))

    assert table is not None
    assert table["heads"] == ["GPU busy", "GPU memory, highest", "Training FLOPs", "Energy"]
    values = [value.replace("\N{NARROW NO-BREAK SPACE}", " ") for value in table["rows"][1]["values"]]
    assert values == ["80.0 %", "3.0 GB", "600 T", "12 kJ"]
    assert resource_table(make.finished(make.study()), []) is None
