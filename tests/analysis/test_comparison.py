"""Two studies side by side: which cells are matched, what is said of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.studies import judged_on

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.study import analyse
from cifarsweep.report.comparison_page import comparison_view, lead
from cifarsweep.report.render import write_comparison, write_pages
from cifarsweep.report.summary import comparison_fields, study_fields

HOSTILE = "<script>alert(1)</script>\"'<img src=x onerror=alert(1)>"


def with_accuracies(make: Any, study: Any, accuracies: dict[str, list[float]], **changes: Any) -> Any:
    trials = [
        make.trial(100 * place + seed, cell, seed, final={"val/accuracy": value}, **changes)
        for place, (cell, values) in enumerate(accuracies.items())
        for seed, value in enumerate(values)
    ]
    return make.report(study, trials)


@pytest.fixture
def pair(make: Any) -> Any:
    """The same study twice: in the second one cell is better and the other about the same."""
    study = make.study({"model.skip": (False, True)}, seeds=4)
    a = with_accuracies(make, study, {"skip=no": [0.80, 0.81, 0.79, 0.80], "skip=yes": [0.90, 0.91, 0.89, 0.90]})
    b = with_accuracies(make, study, {"skip=no": [0.85, 0.86, 0.842, 0.85], "skip=yes": [0.905, 0.90, 0.90, 0.893]})
    return a, b


def test_the_same_study_in_two_places_is_matched(pair: Any) -> None:
    found = compare(*pair)

    better, same = found.matches
    assert (better.finding, same.finding) == ("higher", "no difference shown")
    assert better.estimate.method == "Welch" and better.estimate.n == 4
    raw = [
        stats.ttest_ind([0.85, 0.86, 0.842, 0.85], [0.80, 0.81, 0.79, 0.80], equal_var=False).pvalue,
        stats.ttest_ind([0.905, 0.90, 0.90, 0.893], [0.90, 0.91, 0.89, 0.90], equal_var=False).pvalue,
    ]
    assert better.corrected == pytest.approx(2 * raw[0]) and same.corrected == pytest.approx(raw[1])
    assert lead(found).startswith("Of 2 cells that both have, 1 reaches a higher")


def test_the_other_way_round_is_the_opposite(pair: Any) -> None:
    a, b = pair
    forth, back = compare(a, b), compare(b, a)

    assert [match.finding for match in back.matches] == ["lower", "no difference shown"]
    assert [match.estimate.value for match in back.matches] == [-match.estimate.value for match in forth.matches]


def test_a_study_does_not_differ_from_itself(pair: Any) -> None:
    found = compare(pair[0], pair[0])

    assert {match.finding for match in found.matches} == {"no difference shown"}
    assert found.differences == () and found.only_a == found.only_b == ()


def test_cells_are_matched_by_settings_then_levels_then_name(make: Any) -> None:
    a = make.study({"model.skip": (False, True)}, seeds=1)
    renamed = a.cells[0].model_copy(update={"name": "plain"})  # the same settings
    changed = a.cells[1].settings.model_copy(update={"batch_size": 64})
    b = a.model_copy(
        update={"cells": (a.cells[1].model_copy(update={"own_settings": changed, "name": "new"}), renamed)}
    )

    found = compare(make.report(a, []), make.report(b, []))

    assert [(m.a.cell.name, m.b.cell.name) for m in found.matches] == [("skip=no", "plain"), ("skip=yes", "new")]
    assert [(one.what, one.a, one.b) for one in found.differences] == [("batch_size", "128", "64")]
    assert {match.finding for match in found.matches} == {"no result yet"}


def test_cells_without_a_partner_are_listed(make: Any) -> None:
    a, b = make.study({"batch_size": (8, 16)}), make.study({"batch_size": (16, 32)})

    found = compare(make.report(a, []), make.report(b, []))

    assert (found.only_a, found.only_b) == (("batch_size=8",), ("batch_size=32",))
    assert [match.a.cell.name for match in found.matches] == ["batch_size=16"]
    nothing = compare(make.report(a, []), make.report(make.study({"model.skip": (True,)}), []))
    assert lead(nothing) == "The two have no cell in common: nothing can be compared."


def test_two_seeds_are_too_few_whatever_they_say(make: Any) -> None:
    study = make.study({}, seeds=2)
    a, b = (with_accuracies(make, study, {"base": values}) for values in ([0.1, 0.1], [0.9, 0.9]))

    match = compare(a, b).matches[0]

    assert (match.finding, match.corrected) == ("too few seeds", 1.0)


def test_times_and_surroundings_of_other_machines_are_marked(make: Any, pair: Any, tmp_path: Path) -> None:
    a, b = pair
    elsewhere = tuple(
        replace(one, attempts=(make.attempt(1, device="NVIDIA H200"),), versions={"torch": "2.16.0", "python": "3.11"})
        for one in b.trials
    )
    found = compare(a, replace(b, trials=elsewhere))

    html = write_comparison(found, tmp_path).read_text()

    assert not found.same_devices and compare(a, b).same_devices
    unlike = [(one.what, one.a, one.b) for one in found.differences]
    assert unlike == [("device", "cpu", "NVIDIA H200"), ("torch", "2.15.0", "2.16.0")]
    assert "Times are left out" in html and "Time:" not in html


def test_the_page_says_what_was_found_and_escapes_names(make: Any, pair: Any, tmp_path: Path) -> None:
    a, b = pair
    cells = tuple(cell.model_copy(update={"name": HOSTILE}) for cell in b.study.cells[:1])
    b = replace(b, study=b.study.model_copy(update={"cells": cells, "question": HOSTILE}), database=HOSTILE)

    page = write_comparison(compare(a, b), tmp_path)

    html = page.read_text()
    assert page.name == "tried+tried.html" and [path.name for path in tmp_path.iterdir()] == [page.name]
    assert "alert(1)</script>" not in html and "<img" not in html and "script-src 'none'" in html.replace("&#39;", "'")
    assert "Only in A: <bdi>skip=yes</bdi>" in html


def test_the_lead_counts_what_can_not_be_told_apart_from_no_difference(make: Any) -> None:
    study = make.study({"batch_size": (8, 16, 32)}, seeds=4)
    four, two = [0.80, 0.81, 0.79, 0.80], [0.9, 0.91]
    a = with_accuracies(make, study, {"batch_size=8": four, "batch_size=16": two})
    found = compare(a, a)

    assert lead(found).endswith("for 1 no difference is shown, 1 has too few seeds to tell, 1 has no result yet.")
    rows = {row["cell"]: row for row in comparison_view(found)["rows"]}
    assert [rows[f"batch_size={size}"]["p"] for size in (8, 16, 32)] == ["1", None, None]
    assert rows["batch_size=16"]["seeds"] == "2 seeds a side"


def test_seeds_that_are_all_alike_have_the_spread_of_single_images(make: Any) -> None:
    """Half a step of 1 / 355, as digits has that many test images: 2.8 points of an interval of 0.05."""
    study = make.study({"batch_size": (8,)}, seeds=3)
    name = study.cells[0].name
    a, b = (with_accuracies(make, study, {name: [value] * 3}) for value in (0.1, 0.15))

    found = compare(*(judged_on(one, 355) for one in (a, b)))

    row, estimate = comparison_view(found)["rows"][0], found.matches[0].estimate
    assert (row["seeds"], len(row["mark"]["ends"])) == ("3 seeds a side", 2)
    assert estimate is not None and estimate.error == pytest.approx((2 / 12 / 3) ** 0.5 / 355)


def test_results_of_other_seeds_are_results(make: Any) -> None:
    study = make.study({"batch_size": (8,)}, seeds=1)
    a, b = (with_accuracies(make, study, {"batch_size=8": [0.1]}) for _ in "ab")
    b = replace(b, trials=(replace(b.trials[0], seed=7),))

    assert compare(a, b).matches[0].finding == "too few seeds"


def test_a_comparison_leads_to_the_pages_beside_it(make: Any, tmp_path: Path) -> None:
    a, b = make.finished(make.study()), make.finished(make.study(name="other"))
    write_pages([analyse(a)], tmp_path)

    html = write_comparison(compare(a, b), tmp_path).read_text()

    assert '<a href="tried.html">tried</a>' in html and 'href="other.html"' not in html


def test_programs_get_plain_values(make: Any, pair: Any) -> None:
    one, two = json.loads(json.dumps(comparison_fields(compare(*pair))))["cells"]

    assert one["finding"] == "higher" and one["difference"] == pytest.approx(0.0505)
    assert one["interval"][0] < 0.0505 < one["interval"][1] and two["seeds"] == 4
    study = json.loads(json.dumps(study_fields(analyse(make.finished(make.study())))))
    assert [cell["n"] for cell in study["cells"]] == [3] * 6 and study["done"] == 18


def kept_hits(make: Any, study: Any, shares: dict[str, float], digest: str | None, start: int) -> Any:
    """Three runs a cell that get images right by chance, trained on images of that digest, and recorded which."""
    random = np.random.default_rng(start)
    hits, trials = {}, []
    for place, (cell, share) in enumerate(shares.items()):
        for seed in range(3):
            hits[number := 3 * place + seed, "val/accuracy"] = right = random.random(1000) < share
            versions = {"data digits": digest} if digest else {}
            final = {"val/accuracy": float(right.mean())}
            trials.append(make.trial(number, cell, seed, final=final, versions=versions))
    return replace(make.report(study, trials), hits=hits)


def test_a_difference_is_told_for_new_images_too_where_both_studies_have_the_same_ones(
    make: Any, tmp_path: Path
) -> None:
    study = make.study({"model.skip": (False, True)})
    a = kept_hits(make, study, {"skip=no": 0.6, "skip=yes": 0.7}, "ab", 1)
    b = kept_hits(make, study, {"skip=no": 0.8, "skip=yes": 0.7}, "ab", 2)

    found = compare(a, b)

    new = found.matches[0].new_images
    assert new is not None and found.matches[0].estimate is not None
    rights = [np.array([side.hits[number, "val/accuracy"] for number in range(3)]) for side in (b, a)]
    flips = sum(right.var(axis=0, ddof=1).sum() / 1000**2 / 3 for right in rights)
    images = np.var(rights[0].mean(axis=0) - rights[1].mean(axis=0), ddof=1) / 1000 - flips
    assert new.limit == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(max(images, 0)))
    assert new.interval.low <= found.matches[0].estimate.interval().low
    fields = comparison_fields(found)["cells"][0]["new_images"]
    assert fields["interval"] == [new.interval.low, new.interval.high]
    page = write_comparison(found, tmp_path).read_text()
    assert page.count("new images ") == 3


@pytest.mark.parametrize("digests", [("ab", "cd"), ("ab", None), (None, None)])
def test_nothing_is_told_for_new_images_of_other_or_unknown_ones(make: Any, digests: tuple[str | None, ...]) -> None:
    study = make.study({"model.skip": (False, True)})
    a, b = (kept_hits(make, study, {"skip=no": 0.6}, digest, start) for start, digest in enumerate(digests))

    assert compare(a, b).matches[0].new_images is None
