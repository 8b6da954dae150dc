"""Which images all cells miss and which ones tell two cells apart, with pictures where the images are here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.analysis.images import image_results
from cifarsweep.analysis.results import cell_results
from cifarsweep.analysis.study import analyse
from cifarsweep.data import tensor_file
from cifarsweep.data.pictures import read_pictures
from cifarsweep.data.tensor_file import Contents
from cifarsweep.report.images_section import images_view, sample
from cifarsweep.report.render import render_study
from cifarsweep.spec.hypothesis import Greater

#: By cell and seed: image 0 is got by all, 1 by none, 2 by the better cell alone, 3 by the other one, 4 and 5 by some.
HITS = {"skip=yes": ["101011", "101010"], "skip=no": ["100100", "100100"]}


@pytest.fixture
def report(make: Any) -> Any:
    study = make.study({"model.skip": (False, True)}, seeds=2)
    trials, hits = [], {}
    for number, planned in enumerate(study.trials()):
        right = np.array([bit == "1" for bit in HITS[planned.cell.name][planned.seed]])
        hits[number, "val/accuracy"] = right
        trials.append(make.trial(number, planned.cell.name, planned.seed, final={"val/accuracy": float(right.mean())}))
    return replace(make.report(study, trials), hits=hits)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set `digits` of six test images; its digest."""
    monkeypatch.setenv("CIFARSWEEP_DATA", str(tmp_path))
    pixels = np.arange(8 * 32 * 32 * 3, dtype=np.uint8).reshape(8, 32, 32, 3)
    labels = np.array([0, 1, 1, 0, 1, 0, 1, 0], dtype=np.int64)
    contents = Contents(("cat", "<dog>"), "test", pixels[:2], labels[:2], pixels[2:], labels[2:])
    return tensor_file.write(tmp_path / "digits.safetensors", contents).sha256


def test_images_are_sorted_by_who_gets_them(report: Any) -> None:
    found = image_results(report, cell_results(report))

    assert found is not None and found.apart is not None
    assert (found.images, found.cells, found.got, found.missed) == (6, 2, 1, (1,))
    assert (found.apart.best, found.apart.only_best, found.apart.only_next) == ("skip=yes", (2, 4), (3,))
    assert found.apart.difference == pytest.approx(3.5 / 6 - 2 / 6)


def test_a_cell_that_does_not_train_is_left_out(report: Any) -> None:
    trials = [replace(t, outcome="diverged") if t.cell == "skip=no" else t for t in report.trials]
    found = image_results(changed := replace(report, trials=tuple(trials)), cell_results(changed))

    assert found is not None
    assert (found.cells, found.apart, found.missed) == (1, None, (1, 3))


def test_nothing_is_said_of_images_that_were_held_out_or_not_recorded(report: Any, make: Any) -> None:
    cells = []
    for cell in report.study.cells:
        validation = cell.settings.validation.model_copy(update={"split": "holdout"})
        cells.append(
            cell.model_copy(update={"own_settings": cell.settings.model_copy(update={"validation": validation})})
        )
    held = replace(report, study=report.study.model_copy(update={"cells": tuple(cells)}))

    assert image_results(held, cell_results(held)) is None
    assert image_results(replace(report, hits={}), cell_results(report)) is None
    tested = replace(held, hits={(number, "test/accuracy"): hits for (number, _), hits in report.hits.items()})
    assert image_results(tested, cell_results(tested)) is not None


def test_the_page_shows_the_pictures(report: Any, images: str) -> None:
    page = render_study(analyse(replace(report, data_digest=f"digits sha256 {images}")))

    assert "Of the 6 test images, every run of all 2 cells that trained gets 1, and no run gets 1." in page
    assert "for new images too the 95" in page
    assert page.count('<img src="data:image/png;base64,') == 4
    assert "&lt;dog&gt;" in page and "no pictures" not in page


def test_the_section_leaves_the_difference_to_a_verdict_that_says_it(report: Any, make: Any) -> None:
    claim = Greater(kind="greater", claim="Skip wins", a="skip=yes", b="skip=no")
    seeds = [replace(trial, seed=trial.seed + 2, number=trial.number + 4) for trial in report.trials]
    hits = report.hits | {(number + 4, metric): right for (number, metric), right in report.hits.items()}
    study = report.study.model_copy(update={"hypotheses": (claim,)})
    judged = replace(report, study=study, trials=(*report.trials, *seeds), hits=hits)

    page = render_study(analyse(judged)).replace("\N{NARROW NO-BREAK SPACE}", " ")

    assert page.count("or new images too the 95 % interval is") == 1
    assert "For new images too the 95 % interval is" in page


def test_the_page_says_where_runs_did_not_record_it(report: Any) -> None:
    whole = images_view(report, cell_results(report))
    part = images_view(replace(report, hits=dict(list(report.hits.items())[:2])), cell_results(report))

    assert whole is not None and part is not None
    assert "did not record" not in whole["lead"]
    assert part["lead"].startswith("Runs of earlier versions did not record which images they get")
    assert "every run of these 2 cells" in part["lead"]


@given(st.lists(st.integers(0, 9_999), unique=True, max_size=40).map(sorted))
def test_pictures_are_taken_from_all_over_the_test_set(listed: list[int]) -> None:
    chosen = sample(listed)

    assert len(chosen) == min(8, len(listed)) and chosen == sorted(set(chosen))
    if len(listed) >= 16:
        assert chosen[-1] >= listed[len(listed) * 3 // 4]


@pytest.mark.parametrize("digest", [None, f"digits sha256 {'0' * 64}", "digits sha256 0; digits sha256 1"])
def test_other_images_than_those_trained_on_are_not_shown(report: Any, images: str, digest: str | None) -> None:
    view = images_view(replace(report, data_digest=digest), cell_results(report))

    assert view is not None
    assert "The images of digits that were trained on are not here, so no pictures are shown." in view["without"]
    assert [group["pictures"] for group in view["groups"]] == [[], [], []]
    assert [group["title"].rpartition(": ")[2] for group in view["groups"]] == ["1 image", "2 images", "1 image"]


def test_pictures_are_the_images_of_the_test_set(images: str) -> None:
    import io

    from PIL import Image

    found = read_pictures("digits", images, [5, 0])

    assert found is not None
    assert [(picture.place, picture.label) for picture in found] == [(5, "cat"), (0, "<dog>")]
    pixels = np.asarray(Image.open(io.BytesIO(found[1].png)))
    assert (pixels == np.arange(8 * 3072, dtype=np.uint8).reshape(8, 32, 32, 3)[2]).all()
    assert read_pictures("digits", images, [6]) is None
    assert read_pictures("nothing-here", images, [0]) is None


@pytest.mark.parametrize(
    ("pixels", "shown", "smooth"), [(8, 64, False), (28, 56, False), (32, 64, False), (64, 64, False), (200, 64, True)]
)
def test_pixels_of_a_picture_are_whole_squares_or_smooth(
    report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int, shown: int, smooth: bool
) -> None:
    monkeypatch.setenv("CIFARSWEEP_DATA", str(tmp_path))
    images, labels = np.zeros((6, pixels, pixels, 1), np.uint8), np.zeros(6, np.int64)
    made = Contents(("cat", "dog"), "test", images[:2], labels[:2], images, labels)
    sha256 = tensor_file.write(tmp_path / "digits.safetensors", made).sha256

    view = images_view(replace(report, data_digest=f"digits sha256 {sha256}"), cell_results(report))

    assert view is not None
    pictures = [picture for group in view["groups"] for picture in group["pictures"]]
    assert {(picture["side"], picture["smooth"]) for picture in pictures} == {(shown, smooth)}
