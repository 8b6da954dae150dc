"""`report --anonymous`: whatever a study's hosts, paths and users are called, nothing that is written shows them."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pages import judged
from support.programs import program_report, program_study
from support.studies import START, Maker

from cifarsweep.analysis.anonymous import Anonymiser
from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.study import analyse
from cifarsweep.errors import UnreadableStudy
from cifarsweep.report.figure_files import Paper, _constants, _style
from cifarsweep.report.paper_tables import paper_tables
from cifarsweep.report.render import render_for_files, write_comparison, write_pages
from cifarsweep.report.summary import comparison_fields, study_fields
from cifarsweep.report.table_formats import write_tables
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.program import Program, ProgramFile
from cifarsweep.spec.reported import Reported
from cifarsweep.store.records import Note

make = Maker()
#: No word of a page contains it, and base64 has no underscore.
MARKER = "zq_x"
#: What hosts, users and folders may be called.
names = st.text("abcXYZ019-_", min_size=0, max_size=8).map(lambda rest: f"{MARKER}{rest}9")
folders = st.sampled_from(
    [
        "/home/{}",
        "/Users/{}/my runs",
        "/mnt/{}",
        "~/{}",
        "~{}",
        "../{}",
        r"C:\Users\{}",
        r"\\{}\share",
        "runs/of/{}/here",
    ]
)


def of_somebody(user: str, host: str, folder: str) -> ReportStudy:
    """A study of a program whose every host, path, user and address has a marker in it."""
    place = folder.format(user)
    sep = "\\" if "\\" in folder else "/"
    data, more = f"{place}{sep}data.csv", f"{place}{sep}other.csv"
    study = program_study(
        factors={"lr": (0.1, 0.01), "data": (data, more)},
        question=f"Is {data} of {user} on {host} better?",
        source=f"{user}@{host}.example.org, ssh://{user}@{host}/x",
        cost=f"two hours on {host}",
        hypotheses=(Greater(kind="greater", claim=f"{user} errs", a={"data": data}, b={"data": more}),),
    )
    files = (ProgramFile(path=f"{user}/train.py", sha256="a" * 64), ProgramFile(path=f"{user}.py", sha256="b" * 64))
    command = (
        "python",
        f"{place}{sep}train.py",
        f"--out={place}",
        f"{user}/train.py",
        f"--host={host}",
        "{lr}",
        "{data}",
    )
    reported = (Reported(cell=study.cells[0].name, metric="val/accuracy", value=0.5, source=f"mail of {user}"),)
    study = study.model_copy(update={"program": Program(command=command, files=files), "reported": reported})
    report = program_report(study, [0.5, 0.6, 0.7, 0.8])
    error = (
        f'Traceback\n  File "{place}{sep}train.py", line 3\nOSError: {user}@{host}: no {data} at {user}/x and {host}:22'
    )
    attempt = {"host": host, "worker_id": f"{host}-16346-d051b6", "device": "NVIDIA H200", "error": error}
    attempts = (
        make.attempt(1, **attempt, traceback=error, end="exception"),
        make.attempt(2, **attempt, versions={"torch": "2.15.0", "program git": f"{MARKER}0123"}),
    )
    trials = [replace(trial, attempts=attempts, versions=attempts[-1].versions) for trial in report.trials]
    failed = {"state": "failed", "outcome": None, "final": {}, "error": error}
    trials[-1] = replace(trials[-1], reuse=make.reuse("own/1", 3, host=host, worker_id=f"{host}-1"), **failed)
    notes = (Note(1, None, f"{user} looked at {data} on {host}", START), Note(2, 0, f"mail {user}@{host}", START))
    report = replace(report, own_notes=notes)
    return replace(report, trials=tuple(trials), written=study, database=f"postgresql://{user}@{host}:5432/{user}")


@pytest.mark.parametrize("host", [f"{MARKER}1.lab.org", f"{MARKER}-gpu"])
def test_without_the_option_the_marker_is_there(host: str, tmp_path: Path) -> None:
    pages = write_pages([analyse(of_somebody(f"{MARKER}me", host, "/home/{}"))], tmp_path)

    assert pages[0].read_text().count(MARKER) > 20


@given(user=names, host=names, folder=folders)
@settings(max_examples=8, deadline=None)
def test_nothing_that_is_written_has_a_name_of_a_host_a_path_or_a_user(user: str, host: str, folder: str) -> None:
    report, other = of_somebody(user, host, folder), of_somebody(f"{user}b", f"{host}b", folder)
    anonymiser = Anonymiser([report, other])
    unread = UnreadableStudy(
        "lost", anonymiser.text(f"{report.database}: study 'lost' of {host} is at {folder.format(user)}")
    )

    study, compared = (anonymiser.study(each) for each in (report, other))
    analysis = analyse(study)

    with TemporaryDirectory() as folder_name:
        out = Path(folder_name)
        write_pages([analysis], out, left_out=[unread])
        write_comparison(compare(study, compared), out)
        for form in ("latex", "markdown", "csv"):
            write_tables(paper_tables(analysis), form, out)
        (out / "own.json").write_text(json.dumps([study_fields(analysis), comparison_fields(compare(study, compared))]))
        (out / "figures.html").write_text(render_for_files(analysis, _constants(Paper()), _style(Paper())))
        for path in out.iterdir():
            text = path.read_text()
            at = text.find(MARKER)
            assert at < 0 or path.name == "plotly.min.js", f"{path.name}: {text[max(at - 80, 0) : at + 80]}"


def test_a_page_says_what_it_leaves_out_and_keeps_devices_and_times(tmp_path: Path) -> None:
    report = judged()
    html = write_pages([analyse(Anonymiser([report]).study(report))], tmp_path)[0].read_text()

    assert "Hosts, paths, users and addresses, which have names such as host-1 in their place" in html
    assert "NVIDIA H200" in html and "host-1" in html and "node1" not in html and "x.db" not in html


def test_the_commit_of_cifarsweep_is_left_out(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("cifarsweep.report.reproduce.code_version", lambda: f"cifarsweep 0.1.0, commit {MARKER}")
    report = judged()

    html = write_pages([analyse(Anonymiser([report]).study(report))], tmp_path)[0].read_text()

    assert MARKER not in html and "cifarsweep 0.1.0" in html
