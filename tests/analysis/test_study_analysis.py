"""A study is analysed once for everything that is told of it."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from support.studies import ABOVE, ALIKE
from typer.testing import CliRunner

from cifarsweep.analysis import results, verdicts
from cifarsweep.cli.app import app
from cifarsweep.dashboard.connection import StoreConnection
from cifarsweep.dashboard.page_cache import PageCache
from cifarsweep.store import Store

CELLS = ("lr=0.1", "lr=0.2", "lr=0.3")


@pytest.fixture
def url(make: Any, tmp_path: Any) -> str:
    url = f"sqlite:///{tmp_path}/once.db"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(make.study({"optimizer.lr": (0.1, 0.2, 0.3)}, hypotheses=(ABOVE, ALIKE)))
    return url


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each cell was summed up, and each hypothesis judged."""
    counts: Counter[str] = Counter()

    def counted(function: Callable[..., Any], name_of: Callable[[Any], str]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            counts[name_of(arguments[0])] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(results, "_result", counted(results._result, lambda cell: cell.name))
    monkeypatch.setattr(verdicts, "_verdict", counted(verdicts._verdict, lambda case: case.hypothesis.claim))
    return counts


@pytest.mark.parametrize("most_cells", [200, 1], ids=["all cells shown", "some cells shown"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["pages", "json"])
def test_a_report_computes_each_cell_and_each_verdict_once(
    url: str,
    computed: Counter[str],
    options: list[str],
    most_cells: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    monkeypatch.setattr("cifarsweep.analysis.study.SHOWN_CELLS", most_cells)

    done = CliRunner().invoke(app, ["report", "--db", url, "--out", str(tmp_path), *options], catch_exceptions=False)

    assert done.exit_code == 0
    assert computed == dict.fromkeys((*CELLS, ABOVE.claim, ALIKE.claim), 1)


def test_a_page_of_the_dashboard_and_its_line_of_the_index_share_one_analysis(url: str, computed: Counter[str]) -> None:
    with closing(StoreConnection(url)) as connection:
        pages = PageCache(connection)
        assert pages.page("tried.html") and pages.page("index.html")

    assert computed == dict.fromkeys((*CELLS, ABOVE.claim, ALIKE.claim), 1)


def test_extend_judges_each_hypothesis_once(url: str, computed: Counter[str]) -> None:
    asked = ["extend", "tried", "--until-decided", "--max-seeds", "5", "--look", "--db", url]
    assert CliRunner().invoke(app, asked, catch_exceptions=False).exit_code == 0

    assert computed == dict.fromkeys((ABOVE.claim, ALIKE.claim), 1)
