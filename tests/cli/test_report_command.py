"""`report` as a user types it: several studies, two databases, for programs, on paper."""

import json
from pathlib import Path

import pytest

from cifarsweep.spec.reader import read_study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo

STUDY = """
name = "small"
question = "Does it train?"
seeds = 3
settings = { dataset = "digits", epochs = 1 }
factors = { batch_size = [16, 32, 64] }

[[hypotheses]]
kind = "best"
claim = "Small batches are best"
factor = "batch_size"
level = 16
"""


def finished(folder: Path, name: str, better: float) -> None:
    """A database with the study, every trial done, as a worker would leave it."""
    (folder / "small.toml").write_text(STUDY)
    with Store.open(f"sqlite:///{folder}/{name}.db", upgrade=True) as store:
        store.studies.create(read_study(folder / "small.toml"))
        store.queue.register_worker(WorkerInfo("w", "node1", 1, "cpu", 1, {"torch": "2.15"}))
        while lease := store.queue.claim("w"):
            # Seeds differ a little in how much better they are: differences without any spread prove little.
            accuracy = 0.6 + better + 0.001 * (1 + better / 100) * lease.seed
            rows = [MetricRow("val/accuracy", 10, accuracy), MetricRow("elapsed_s", 10, 3.0)]
            result = TrialResult(Outcome.FINISHED, 10, {"val/accuracy": accuracy}, "ab" * 32)
            store.queue.finish(store.queue.write(lease, rows), [], None, result)


@pytest.fixture
def two_databases(tmp_path):
    finished(tmp_path, "cifarsweep", 0.0)
    finished(tmp_path, "other", 0.1)


def test_two_databases_are_set_side_by_side(call, tmp_path, two_databases):
    shown = call("report", "--compare", "small", f"sqlite:///{tmp_path}/other.db#small", "--out", "pages")

    assert shown.returncode == 0, shown.stderr
    lead, path = shown.stdout.splitlines()
    assert lead == (
        "Of 3 cells that both have, 3 reach a higher validation accuracy in B than in A and 0 a lower one; "
        "for 0 no difference is shown."
    )
    html = (tmp_path / path).read_text()
    assert path == "pages/small+small.html" and "10.00 (" in html and "cifarsweep.db" in html and "other.db" in html
    told = json.loads(call("report", "--json", "--compare", "small", "sqlite:///other.db#small").stdout)
    assert [cell["finding"] for cell in told["cells"]] == ["higher"] * 3


def test_programs_get_json_and_no_pages(call, tmp_path, two_databases):
    told = json.loads(call("report", "small", "--json").stdout)

    assert [study["study"] for study in told] == ["small"] and len(told[0]["cells"]) == 3
    assert told[0]["cells"][0]["n"] == 3 and told[0]["cells"][0]["mean"] == pytest.approx(0.601)
    assert {"claim", "decision", "sentence"} <= set(told[0]["verdicts"][0])
    assert not (tmp_path / "reports").exists()


def test_several_studies_share_an_index_with_an_answer_each(call, tmp_path, two_databases):
    assert call("create", "demo", "--as", "later").returncode == 0

    shown = call("report", "small", "later", "--out", "pages")

    index = (tmp_path / "pages" / "index.html").read_text()
    assert shown.returncode == 0 and 'href="small.html"' in index and 'href="later.html"' in index
    assert index.count('class="answer"') == 2 and "undecided" in index


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compare", "small", "smal"], "'smal'"),
        (["--compare", "small", "sqlite:///nowhere.db#small"], "nowhere.db: there is no such database"),
        (["small", "--compare", "small", "small"], "--compare names its two studies itself"),
        (["small", "--pdf"], "none is on PATH"),
        (["small", "--json", "--png"], "--json writes no page"),
        (["small", "--table", "latex", "--json"], "--table and --figures write no page"),
        (["small", "--figures", "f", "--pdf"], "--table and --figures write no page"),
        (["small", "--figures", "f"], "none is on PATH"),
        (["small", "--figures", "f", "--width", "20"], "'20' is not column, page, or a number of mm from 40 to 400"),
        (["small", "--face", "serif"], "--face, --width and --view are of --figures"),
        (["small", "--out", "-"], "--out - is for --table alone"),
    ],
)
def test_what_can_not_be_shown_is_said_and_nothing_written(call, tmp_path, two_databases, arguments, words):
    shown = call("report", *arguments, PATH=str(tmp_path))

    assert (shown.returncode, shown.stdout) == (2, "") and words in shown.stderr
    assert not (tmp_path / "reports").exists()


def test_a_study_without_results_has_no_table(call, tmp_path, two_databases):
    assert call("create", "demo", "--as", "later").returncode == 0

    named = call("report", "later", "--table", "latex", "--out", "paper")
    every = call("report", "--table", "latex", "--out", "paper")

    assert named.returncode == 2
    assert "study 'later' has no table yet: no trial has a result; run `cifarsweep worker`" in named.stderr
    assert "left out: study 'later' has no table yet" in every.stderr
    assert every.stdout.splitlines() == ["paper/small-results.tex", "paper/small-verdicts.tex"]


def test_tables_go_into_files_or_to_standard_output(call, tmp_path, two_databases):
    written = call("report", "small", "--table", "latex", "--out", "paper")
    told = call("report", "small", "--table", "csv", "--out", "-")

    assert written.stdout.splitlines() == ["paper/small-results.tex", "paper/small-verdicts.tex"], written.stderr
    assert "\\toprule" in (tmp_path / "paper" / "small-results.tex").read_text()
    assert told.stdout.startswith("cell,level batch_size,metric,mean,low,high") and "\n\nclaim,kind," in told.stdout
    assert not (tmp_path / "reports").exists()


def test_an_anonymous_report_names_no_host_and_no_database(call, tmp_path, two_databases):
    sides = ("small", "sqlite:///other.db#small")
    pages = call("report", "small", "--anonymous", "--out", "pages")
    compared = call("report", "--anonymous", "--compare", *sides, "--out", "pages")
    told = call("report", "--anonymous", "--json", "--compare", *sides)

    assert (pages.returncode, compared.returncode) == (0, 0), pages.stderr + compared.stderr
    written = [path.read_text() for path in (tmp_path / "pages").glob("*.html")] + [told.stdout]
    assert len(written) == 4 and "host-1" in "".join(written)
    for text in written:
        assert "node1" not in text and "cifarsweep.db" not in text and "other.db" not in text
        assert str(tmp_path) not in text
