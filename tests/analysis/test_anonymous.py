"""What tells who ran a study, and where, is taken out of its records, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pages import judged

from cifarsweep.analysis.anonymous import Anonymiser
from cifarsweep.analysis.study import analyse
from cifarsweep.report.summary import study_fields


@pytest.mark.parametrize(
    "text",
    [
        'File "/home/MARKER/my project/train.py", line 3',
        "FileNotFoundError: [Errno 2] No such file: '/mnt/MARKER/a b.csv'",
        "can't open /data/MARKER/x",
        "can't open ~/MARKER/x or ~MARKER/x",
        "runs/MARKER/x.csv is not there",
        r"C:\Users\MARKER\x.py and \\MARKER\share\x",
        "postgresql://MARKER:pw@db.MARKER.org/x",
        "https://gitlab.MARKER.org/x",
        "s3://MARKER/prefix",
        "MARKER@example.org",
        "root=/MARKER/x,y=../MARKER/z",
    ],
)
def test_a_text_of_a_machine_shows_no_path_and_no_address(text: str) -> None:
    found = Anonymiser([]).text(text)

    assert "MARKER" not in found, found


def test_a_number_of_a_host_is_replaced_and_a_version_is_not() -> None:
    found = Anonymiser([]).text("connect to 10.1.2.3 or fe80:1:2:3:4:5:6:7 failed with 2.15.0")

    assert found == "connect to host-1 or host-2 failed with 2.15.0"


@pytest.mark.parametrize(
    "text",
    [
        "lr=0.1, skip=yes",
        "timm:resnet18",
        "val/accuracy",
        "the gap and/or the loss / accuracy, 50 % of 1/2",
        "https://arxiv.org/abs/1409.1556",
        "github.com/kuangliu",
        "adamw with cosine: 3e-4",
        "facebook/opt",
    ],
)
def test_words_of_a_study_stay(make: Any, text: str) -> None:
    report = make.finished(make.study({}, question=text))

    assert Anonymiser([report]).study(report).study.question == text


def test_equal_names_stay_equal_and_others_differ(make: Any) -> None:
    report = make.finished(make.study({}, seeds=3))
    hosts = ("gpu-a.lab.org", "gpu-b", "gpu-a.lab.org")
    trials = tuple(
        replace(trial, attempts=(make.attempt(1, host=host, error=f"lost {host.split('.')[0]}"),))
        for trial, host in zip(report.trials, hosts, strict=True)
    )
    report = replace(report, trials=trials)

    found = [trial.attempts[0] for trial in Anonymiser([report]).study(report).trials]

    assert [attempt.host for attempt in found] == ["host-1", "host-2", "host-1"]
    assert [attempt.error for attempt in found] == ["lost host-1", "lost host-2", "lost host-1"]


def test_results_and_verdicts_stay_what_they_are() -> None:
    report = judged()

    known, found = (study_fields(analyse(each)) for each in (report, Anonymiser([report]).study(report)))

    assert known["notes"] and found == known | {"notes": []}


def test_a_user_or_host_called_like_a_word_of_ours_breaks_nothing(make: Any) -> None:
    report = replace(make.finished(make.study({}, seeds=2)), database="sqlite:////home/val/steps/x.db")
    named = tuple(
        replace(trial, attempts=(make.attempt(1, host="digits", error="no room for val on digits"),))
        for trial in report.trials
    )
    report = replace(report, trials=named)

    found = Anonymiser([report]).study(report)

    assert found.study == report.study and found.study.metric == "val/accuracy"
    assert found.trials[0].attempts[0].error == "no room for user-1 on host-1"


def test_a_commit_of_a_program_is_left_out_and_other_versions_stay(make: Any) -> None:
    versions = {"program git": "0123456789ab", "torch": "2.15.0+cu132", "system": "Linux x86_64"}
    report = make.finished(make.study({}, seeds=1))
    report = replace(report, trials=tuple(replace(trial, versions=versions) for trial in report.trials))

    found = Anonymiser([report]).study(report).trials[0].versions

    assert found == versions | {"program git": "left out"}


@given(st.text(max_size=60))
def test_what_was_replaced_once_stays(text: str) -> None:
    anonymiser = Anonymiser([])
    once = anonymiser.text(text)

    assert anonymiser.text(once) == once
