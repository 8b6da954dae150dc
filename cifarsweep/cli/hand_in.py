"""What `report` writes to hand in: tables and figures, each as a file, with the options that say how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

from cifarsweep.errors import NothingYet

if TYPE_CHECKING:
    from cifarsweep.analysis.study import StudyAnalysis
    from cifarsweep.report.figure_files import Paper
    from cifarsweep.report.table_formats import TableFormat

#: `--out -`.
STANDARD_OUTPUT = Path("-")

Table = Annotated[
    Literal["latex", "markdown", "csv"] | None,
    typer.Option(
        "--table",
        help="Only write tables to hand in, of results, verdicts and effects: a file each into --out, or all to "
        "standard output with --out -.",
    ),
]
Figures = Annotated[
    Path | None,
    typer.Option("--figures", metavar="DIR", help="Only write every figure into a file of its own there, by Chromium."),
]
Form = Annotated[Literal["svg", "pdf", "png"] | None, typer.Option("--format", help="Of --figures; SVG if left out.")]
Face = Annotated[
    Literal["serif", "sans"] | None, typer.Option("--face", help="Of texts in --figures; sans if left out.")
]
Width = Annotated[
    str | None,
    typer.Option(
        "--width", metavar="column|page|MM", help="Of --figures: 84 mm, 174 mm or a number of mm; column if left out."
    ),
]
View = Annotated[
    str | None,
    typer.Option(
        "--view",
        metavar="TEXT",
        help="What --figures show, as the page's address has it after `#`: `colour=lr&y=val/loss`.",
    ),
]


class HandIn(Protocol):
    """Writes what was asked for of studies.

    A study that has nothing to write yet is an error where it was `named`, or none has anything; else it is left out.
    """

    def __call__(self, studies: Sequence[StudyAnalysis], *, named: bool) -> None: ...


def asked_for(
    table: TableFormat | None, figures: Path | None, paper: Paper, out: Path, *, others: bool
) -> HandIn | None:
    """What to do for --table and --figures; None where neither is given.

    Raises typer.BadParameter, also if options for pages are among the `others`.
    """
    if out == STANDARD_OUTPUT and not table:
        raise typer.BadParameter("--out - is for --table alone: pages need a folder")
    if not table and not figures:
        return None
    if others:
        raise typer.BadParameter("--table and --figures write no page: leave --compare, --pdf, --png and --json out")

    def write(studies: Sequence[StudyAnalysis], *, named: bool) -> None:
        if figures:
            write_figures(studies, figures, paper, named=named)
        if table:
            write_tables(studies, table, out, named=named)

    return write


def paper_for(figures: Path | None, form: str | None, face: str | None, width: str | None, view: str | None) -> Paper:
    """What figures are drawn for. Raises typer.BadParameter, also for an option without --figures."""
    from cifarsweep.report.figure_files import WIDTHS, Paper

    if not figures and any(option is not None for option in (form, face, width, view)):
        raise typer.BadParameter("--format, --face, --width and --view are of --figures: give it a folder")
    given = {"form": form, "face": face, "view": view}
    named = {} if width is None else {"width_mm": WIDTHS.get(width) or _millimetres(width)}
    return Paper(**{key: value for key, value in given.items() if value is not None}, **named)  # type: ignore[arg-type]


def _millimetres(width: str) -> float:
    from cifarsweep.report.figure_files import LEAST_MM, MOST_MM

    try:
        value = float(width.removesuffix("mm"))
    except ValueError:
        value = 0.0
    if LEAST_MM <= value <= MOST_MM:
        return value
    raise typer.BadParameter(
        f"{width!r} is not column, page, or a number of mm from {LEAST_MM:g} to {MOST_MM:g}", param_hint="--width"
    )


def write_tables(studies: Sequence[StudyAnalysis], table: TableFormat, out: Path, *, named: bool) -> None:
    """Write the tables of the studies and print their paths, or print the tables; see `HandIn`. Raises OutputError."""
    from cifarsweep.report import table_formats
    from cifarsweep.report.paper_tables import paper_tables
    from cifarsweep.text import data_output

    known = [analysis for analysis in studies if any(result.accuracy for result in analysis.results)]
    none = [
        NothingYet(f"study {analysis.study.name!r} has no table yet: no trial has a result; run `cifarsweep worker`")
        for analysis in studies
        if analysis not in known
    ]
    _leave_out(none, named=named or not known)
    tables = [one for analysis in known for one in paper_tables(analysis)]
    if out == STANDARD_OUTPUT:
        data_output().write("\n".join(table_formats.table_text(one, table) for one in tables))
        return
    for path in table_formats.write_tables(tables, table, out):
        typer.echo(path)


def write_figures(studies: Sequence[StudyAnalysis], out: Path, paper: Paper, *, named: bool) -> None:
    """Draw the figures of all studies, then write them and print their paths; see `HandIn`. Raises OutputError."""
    from cifarsweep.report import figure_files as files

    files.writable(out)  # before minutes of drawing
    drawn, none = [], []
    for analysis in studies:
        try:
            drawn.append((analysis.study.name, files.drawn_figures(analysis, paper)))
        except NothingYet as error:
            none.append(error)
    _leave_out(none, named=named or not drawn)
    for study, figures in drawn:
        for path in files.write_figures(study, figures, out, paper):
            typer.echo(path)
        if cells := max(figure.unnamed for figure in figures):
            typer.echo(
                f"{study}: {cells} cells are too many for a legend, which has at most {files.LEGEND_MOST}: some "
                "figures have none; hide levels with --view, such as --view hide=FACTOR:LEVEL",
                err=True,
            )


def _leave_out(none: Sequence[NothingYet], *, named: bool) -> None:
    """Say what is left out. Raises the first of them where it was `named`."""
    if none and named:
        raise none[0]
    for missing in none:
        typer.echo(f"left out: {missing}", err=True)
