"""Pages as files: names, contents, and nothing half written."""

import hashlib
import re
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cifarsweep.analysis.study import analyse
from cifarsweep.errors import CifarsweepError
from cifarsweep.report.render import page_name, render_index, render_study, write_pages
from cifarsweep.report.results_table import results_table

HOSTILE = "<script>alert(1)</script>\"'</script><img src=x onerror=alert(1)>&amp;"
WAITING = {"state": "queued", "outcome": None, "final": {}, "steps": 0, "elapsed_s": None, "attempts": ()}


def test_a_page_a_study_an_index_and_one_plotly(make: Any, tmp_path: Path) -> None:
    reports = [make.finished(make.study(name="first")), make.finished(make.study({}, name="second"))]

    paths = write_pages(list(map(analyse, reports)), tmp_path / "new" / "folder")

    assert [path.name for path in paths] == ["first.html", "second.html", "index.html"]
    beside = {path.name for path in paths[0].parent.iterdir()}
    assert beside == {"first.html", "second.html", "index.html", "plotly.min.js"}
    assert 'href="second.html"' in paths[-1].read_text()


def test_a_single_file_needs_no_other(make: Any, tmp_path: Path) -> None:
    page, index = write_pages([analyse(make.finished(make.study()))], tmp_path, single_file=True)

    assert {path.name for path in tmp_path.iterdir()} == {page.name, index.name}
    assert "src=" not in re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL)


def test_writing_again_replaces_the_pages_and_keeps_plotly(make: Any, tmp_path: Path) -> None:
    study = make.study()
    write_pages([analyse(make.report(study, []))], tmp_path)
    before = (tmp_path / "plotly.min.js").stat().st_mtime_ns

    page, _ = write_pages([analyse(make.finished(study))], tmp_path)

    assert "18 of 18 trials are done" in page.read_text()
    assert (tmp_path / "plotly.min.js").stat().st_mtime_ns == before


def test_a_damaged_plotly_is_mended(make: Any, tmp_path: Path) -> None:
    (tmp_path / "plotly.min.js").write_text("broken")

    write_pages([analyse(make.finished(make.study()))], tmp_path)

    assert (tmp_path / "plotly.min.js").stat().st_size > 1_000_000


def test_browsers_compile_plotly_as_a_whole_where_they_read_it_ahead(make: Any, tmp_path: Path) -> None:
    page, _ = write_pages([analyse(make.finished(make.study()))], tmp_path / "beside")
    single, _ = write_pages([analyse(make.finished(make.study()))], tmp_path / "single", single_file=True)

    # Chromium looks for it at the very top of a file, and compiles a script within a page where figures wait for it.
    assert page.with_name("plotly.min.js").read_text().startswith("//# allFunctionsCalledOnLoad\n/**\n* plotly.js")
    assert "allFunctionsCalledOnLoad" not in single.read_text()


def test_a_page_that_can_not_be_written_leaves_the_old_one(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, _ = write_pages([analyse(make.finished(make.study()))], tmp_path)
    before, names = page.read_text(), sorted(tmp_path.iterdir())

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CifarsweepError, match=r"No space left.*--out"):
        write_pages([analyse(make.report(make.study(), []))], tmp_path)

    assert page.read_text() == before
    assert sorted(tmp_path.iterdir()) == names


def test_a_file_where_the_folder_should_be_is_named(make: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    with pytest.raises(CifarsweepError, match="out: the report can't be written there"):
        write_pages([analyse(make.finished(make.study()))], tmp_path / "out")


def test_a_study_named_index_does_not_replace_the_index() -> None:
    assert page_name("demo") == "demo.html"
    assert page_name("Index") == page_name("index") == "_index.html"


@pytest.mark.parametrize("single_file", [False, True])
def test_every_script_is_named_by_the_policy(make: Any, single_file: bool) -> None:
    html = render_study(analyse(make.finished(make.study())), single_file=single_file)

    policy = html.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    hashes = [f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts]
    assert len(scripts) == 1 + single_file
    assert all(digest in policy for digest in hashes)
    assert ("'self'" in policy) is not single_file
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy and "http" not in policy


def test_hostile_texts_are_escaped_everywhere(make: Any) -> None:
    study = make.study({}, name="x", question=HOSTILE, source=HOSTILE, cost=HOSTILE)
    study = study.model_copy(update={"cells": (study.cells[0].model_copy(update={"name": HOSTILE}),)})
    attempts = (make.attempt(1, host=HOSTILE, device=HOSTILE, error=HOSTILE, end=HOSTILE), make.attempt(2))
    broken = make.trial(1, HOSTILE, 1, state="failed", final={}, error=f"\x00\x1b{HOSTILE}", attempts=attempts)
    trials = [make.trial(0, HOSTILE, 0, versions={HOSTILE: HOSTILE}), broken]
    series = {(0, HOSTILE): ([1, 2], [1.0, 2.0])}
    report = replace(make.report(study, trials, series), database=HOSTILE, data_digest=HOSTILE)

    for html in (render_study(analyse(report)), render_index([analyse(report)])):
        assert "alert(1)</script>" not in html
        assert "<img" not in html
        assert "\x00" not in html and "\x1b" not in html


def test_a_study_without_a_finished_trial_says_so(make: Any) -> None:
    study = make.study()
    trials = [make.trial(n, p.cell.name, p.seed, **WAITING) for n, p in enumerate(study.trials())]

    html = render_study(analyse(make.report(study, trials)))

    assert "No trial is done yet (18 trials: 18 queued)" in html
    assert 'src="plotly' not in html and "report-data" in html  # tables sort and rows open all the same


def test_a_running_study_shows_its_curves_without_final_values(make: Any) -> None:
    study = make.study({}, seeds=1)
    trial = make.trial(0, "base", 0, **WAITING | {"state": "leased", "steps": 200})

    html = render_study(analyse(make.report(study, [trial], make.curves(0, 0.9, until=0.3))))

    assert 'id="curves-plot"' in html
    assert 'id="finals-plot"' not in html
    assert "1 trial: 1 running" in html and '<span class="state running">running</span>' in html


def test_a_failed_trial_shows_its_error_and_attempts(make: Any) -> None:
    attempts = (make.attempt(1, end="taken_over"), make.attempt(2, host="node2", end="exception", error="boom"))
    trial = make.trial(
        0, "base", 0, state="failed", final={}, outcome=None, error="RuntimeError: boom", attempts=attempts
    )

    html = render_study(analyse(make.report(make.study({}, seeds=1), [trial])))

    for words in ("RuntimeError: boom", "taken over on <bdi>node1, cpu", "exception on <bdi>node2, cpu", "1 failed"):
        assert words in html


def test_finals_that_are_not_finite_are_left_out(make: Any) -> None:
    trial = make.trial(0, "base", 0, final={"val/accuracy": float("nan"), "val/loss": float("inf")})

    html = render_study(analyse(make.report(make.study({}, seeds=1), [trial], make.curves(0, 0.5))))

    assert "so nothing is found so far" in html


def test_a_page_tells_how_to_make_it_again(make: Any) -> None:
    report = replace(make.finished(make.study()), data_digest="sha256 1234")

    html = render_study(analyse(report))

    for words in ("cifarsweep create tried.toml", "cifarsweep worker --study tried", "cifarsweep report tried"):
        assert words in html
    assert report.study.sha256 in html and "sha256 1234" in html and "torch 2.15.0" in html


def test_an_index_of_nothing_and_of_much(make: Any) -> None:
    report = make.finished(make.study())

    assert "No study was asked for" in render_index([])
    assert "18 trials: 18 done" in render_index([analyse(report)])
    assert "<bdi>lr=0.003, skip=no</bdi>, 3 seeds" in render_index([analyse(report)])


def test_the_terminal_has_the_same_numbers(make: Any) -> None:
    study = make.study({"model.skip": (False, True)}, question="Does [bold]it[/] matter?")
    trials = [make.trial(n, p.cell.name, p.seed) for n, p in enumerate(study.trials())][:-1]
    failed = make.trial(5, "skip=yes", 2, state="failed", final={}, outcome=None)
    text = printed(make.report(study, [*trials, failed]))

    assert "Does [bold]it[/] matter?" in text and "5 of 6 trials done" in text
    assert "diverged" not in text
    no, yes = (re.split(r"  +", line.strip()) for line in text.splitlines() if "skip=" in line)
    assert no == ["skip=no", "3", "90.0", "all alike", "90.0–90.0", "12.5 s", "–"]
    assert (yes[1], yes[-1]) == ("2", "1 failed")


def test_the_terminal_needs_eighty_columns_and_marks_single_seeds(make: Any) -> None:
    study = make.study(seeds=1)
    trials = [make.trial(n, p.cell.name, p.seed, elapsed_s=2000.0) for n, p in enumerate(study.trials())]
    waiting = make.trial(0, trials[0].cell, 0, **WAITING)

    text = printed(make.report(study, [waiting, *trials[1:-1], replace(trials[-1], outcome="diverged")]))

    assert "…" not in text
    assert text.count("one seed") == 5
    assert re.search(r"lr=0.003, skip=no +0 +– +– +– +– +–", text)


@pytest.mark.parametrize(("failing", "ranges"), [(False, True), (True, False)])
def test_the_terminal_has_the_test_set_where_it_was_looked_at_once(make: Any, failing: bool, ranges: bool) -> None:
    study = make.study()
    final = {"val/accuracy": 0.9, "test/accuracy": 0.87}
    trials = [make.trial(n, p.cell.name, p.seed, elapsed_s=2000.0, final=final) for n, p in enumerate(study.trials())]
    trials[-1] = replace(trials[-1], state="failed", final={}, outcome=None) if failing else trials[-1]

    text = printed(make.report(study, trials))

    assert "…" not in text and ("range" in text) == ranges
    assert text.count(" 87.0 ") == len(study.cells)
    # Names stay on one line beside all columns.
    assert len(re.findall(r"lr=\S+, skip=\w+ +\d ", text)) == len(study.cells)


def printed(report: Any) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(results_table(analyse(report)))
    return capture.get().replace("\u202f", " ")
