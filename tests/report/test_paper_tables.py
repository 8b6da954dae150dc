"""Tables to hand in: their numbers, and that no name breaks out of its cell in LaTeX, Markdown or CSV."""

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pages import crossed, judged, single, sixty
from support.studies import ABOVE, FAR, FIRST, UNDECIDED

from cifarsweep.analysis.study import analyse
from cifarsweep.errors import OutputError
from cifarsweep.report.paper_tables import paper_tables
from cifarsweep.report.table_cells import Ends, Number, PaperTable
from cifarsweep.report.table_formats import latex_text, markdown_text, table_text, write_tables

HOSTILE = (
    r"\input{x} \\ & % $x^2_3$ ~ # {",
    "[1ex] --seeds `ls` 'q' \"d\" <b>|</b> www.x.org http://x.org @you #7",
    "* star",
    r"%\end{tabular}",
    "=HYPERLINK(1)",
    "line\nbreak, \u202e and \x1b[31m",
)


def results(report: Any) -> PaperTable:
    return paper_tables(analyse(report))[0]


def verdicts(report: Any) -> PaperTable:
    return paper_tables(analyse(report))[1]


def of_hostile(make: Any) -> PaperTable:
    study = make.study({"optimizer.lr": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}, question=HOSTILE[0])
    cells = tuple(cell.model_copy(update={"name": name}) for cell, name in zip(study.cells, HOSTILE, strict=True))
    return results(make.finished(study.model_copy(update={"cells": cells})))


def test_numbers_are_rounded_to_two_digits_of_their_interval() -> None:
    table = results(judged())

    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert first["Test accuracy (%)"] == Number(pytest.approx(87.7196, abs=1e-4), 1, pytest.approx(1.488, abs=1e-3))
    assert "87.7(15) & 5 &" in table_text(table, "latex") and "S[table-format=2.2(2)]" in table_text(table, "latex")
    assert "| 87.7 ± 1.5 | 5 |" in table_text(table, "markdown")


def test_csv_has_raw_numbers_levels_and_ends_of_intervals() -> None:
    analysis = analyse(judged())
    rows = list(csv.DictReader(io.StringIO(table_text(paper_tables(analysis)[0], "csv"))))

    expected = [result.accuracy.mean for result in analysis.results if result.accuracy]
    assert [float(row["mean"]) for row in rows] == expected
    assert {row["level model.skip"] for row in rows} == {"yes", "no"}
    assert all(float(row["low"]) < float(row["mean"]) < float(row["high"]) for row in rows)


def test_verdicts_have_estimate_interval_and_corrected_p(tried: Any) -> None:
    table = verdicts(tried(FAR, ABOVE, FIRST))

    above, first = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (above["Verdict"], above["Unit"]) == ("supported", "points")
    assert isinstance(above["95 % interval"], Ends) and above["Estimate"] == Number(pytest.approx(80.467, abs=1e-3), 1)
    assert (first["Estimate"], first["p"], first["Unit"]) == (None, None, "ratio")
    assert r"$<$\,\num{0.001}" in table_text(table, "latex") and "| < 0.001 |" in table_text(table, "markdown")


def test_of_hypotheses_that_share_a_unit_the_heading_has_it(tried: Any) -> None:
    table = verdicts(tried(UNDECIDED, ABOVE))

    assert "Estimate (points)" in table.columns and "Unit" not in table.columns


def test_a_study_without_hypotheses_has_no_table_of_verdicts() -> None:
    assert [table.name for table in paper_tables(analyse(single()))] == ["results"]


def test_one_seed_has_no_interval_and_costs_that_do_not_differ_no_column(make: Any) -> None:
    table = results(make.finished(make.study(seeds=1)))

    assert all(row[1].half is None for row in table.rows)
    assert table.columns == ("Cell", "Test accuracy (%)", "n", "Time (s)")


def test_many_rows_break_into_pages() -> None:
    text = table_text(results(sixty()), "latex")

    assert r"\begin{longtable}" in text and text.count(r"\label") == 1 and "{booktabs,longtable,siunitx}" in text


def test_hostile_names_stay_in_their_cells_in_latex(make: Any) -> None:
    table = of_hostile(make)
    body = table_text(table, "latex").partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()

    assert len(body) == len(HOSTILE)
    for line in body:
        assert len(re.split(r"(?<!\\)&", line)) == len(table.columns)
        assert line.endswith(r" \\") and not re.search(r"\\\\.|(?<!\\)%", line)
        assert not line.lstrip().startswith(("[", "*"))


def test_hostile_names_stay_in_their_cells_in_markdown(make: Any) -> None:
    table = of_hostile(make)
    lines = table_text(table, "markdown").splitlines()[4:]

    assert len(lines) == len(HOSTILE)
    assert all(len(re.split(r"(?<!\\)\|", line)) == len(table.columns) + 2 for line in lines)
    assert r"\<b\>\|\</b\> www\.x.org http\://x.org \@you \#7" in lines[1]


def test_hostile_names_stay_in_their_fields_in_csv(make: Any) -> None:
    rows = list(csv.reader(io.StringIO(table_text(of_hostile(make), "csv"))))

    names = [row[0] for row in rows[1:]]
    assert names[:4] == list(HOSTILE[:4]) and names[4] == "'=HYPERLINK(1)"
    assert names[5] == "line\nbreak, ⟨U+202E⟩ and ␛[31m"


#: What a TeX reader sees: escapes of ours are undone one by one.
_UNDO = {
    r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<",
    r"\textgreater{}": ">", r"\textbar{}": "|", r"\textasciigrave{}": "`", r"{\textquotedbl}": '"', "{'}": "'",
    "{-}": "-", "{*}": "*", "{[}": "[", "{]}": "]", **{f"\\{sign}": sign for sign in "{}$&#_%"},
}  # fmt: skip


@given(st.text(st.sampled_from("\\{}$&#_%^~<>|`'\"-*[]ab1 "), max_size=30))
def test_every_sign_that_latex_reads_as_a_command_is_escaped_and_none_is_lost(text: str) -> None:
    known = "|".join(re.escape(each) for each in sorted(_UNDO, key=len, reverse=True))
    escaped = latex_text(text)

    rest = re.sub(known, "", escaped)
    assert not set(rest) & set("\\{}$&#_%^~<>|`'\"*[]") and "--" not in rest
    assert re.sub(known, lambda match: _UNDO[match[0]], escaped) == text


@given(st.text(max_size=30))
def test_no_text_ends_a_cell_of_markdown(text: str) -> None:
    escaped = markdown_text(text)

    assert "\n" not in escaped and not re.search(r"(?<!\\)(?:\\\\)*[|<>`\[\]]", escaped)


def test_effects_have_the_means_of_levels_with_their_intervals() -> None:
    analysis = analyse(judged())
    table = next(table for table in paper_tables(analysis) if table.name == "effects")

    assert analysis.effects
    means = [each.found for main in analysis.effects.factors for each in main.levels]
    halves = [mean.interval.half if mean.interval else None for mean in means]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["Factor"], row["Level"]) for row in rows][-2:] == [("skip", "no"), ("skip", "yes")]
    found = [row["Test accuracy (%)"] for row in rows]
    assert [(each.value, each.half) for each in found if isinstance(each, Number)] == [
        (pytest.approx(100 * mean.mean), half and pytest.approx(100 * half))
        for mean, half in zip(means, halves, strict=True)
    ]
    raw = list(csv.DictReader(io.StringIO(table_text(table, "csv"))))
    assert [float(row["low"]) for row in raw] == [mean.interval.low for mean in means if mean.interval]


def test_interactions_have_their_size_and_corrected_p() -> None:
    table = next(table for table in paper_tables(analyse(crossed())) if table.name == "interactions")

    found = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert found["lr, skip"]["p"].value < 0.001 and "By (points)" in table.columns
    assert r"$<$\,\num{0.001}" in table_text(table, "latex")


def test_files_are_named_by_study_and_table(tmp_path: Any) -> None:
    paths = write_tables(paper_tables(analyse(judged())), "latex", tmp_path / "paper")

    names = ("results", "verdicts", "effects", "interactions")
    assert [path.name for path in paths] == [f"judged-{name}.tex" for name in names]
    assert paths[0].read_text().startswith("% Preamble")


def test_a_folder_that_can_not_be_written_is_said(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"file: the tables can't be written there: .*; choose another folder"):
        write_tables(paper_tables(analyse(single())), "csv", tmp_path / "file")
