"""`report`: pages, and the same results for the terminal and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.hand_in import (
    Face,
    Figures,
    Form,
    Table,
    View,
    Width,
    asked_for,
    paper_for,
)
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, console
from cifarsweep.errors import UnknownStudy, UnreadableStudy

if TYPE_CHECKING:
    from cifarsweep.analysis.comparison import Comparison
    from cifarsweep.analysis.records import ReportStudy
    from cifarsweep.analysis.study import StudyAnalysis
    from cifarsweep.store import Store


def report(
    study: Annotated[
        list[str] | None,
        typer.Argument(metavar="STUDY", help="All of them if left out.", autocompletion=completion.studies),
    ] = None,
    db: Database = DEFAULT_DATABASE,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the pages go.")] = Path("reports"),
    single_file: Annotated[bool, typer.Option("--single-file", help="Pages that need no file beside them.")] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Set two side by side instead, each a STUDY or a DBURL#STUDY."),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print the pages as PDF too, by Chromium.")] = False,
    png: Annotated[bool, typer.Option("--png", help="Draw the pages as pictures too, by Chromium.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Only print verdicts and cells, for programs.")] = False,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Leave out hosts, paths, users, addresses and commits.")
    ] = False,
    table: Table = None,
    figures: Figures = None,
    form: Form = None,
    face: Face = None,
    width: Width = None,
    view: View = None,
) -> None:
    """Write offline pages, and print the results.

    Each study has a page, and all of them an index.
    """
    from cifarsweep.report.browser_print import find_chromium

    others = bool(compare or pdf or png or as_json)
    hand_in = asked_for(table, figures, paper_for(figures, form, face, width, view), out, others=others)
    if compare and study:
        raise typer.BadParameter("--compare names its two studies itself")
    if as_json and (pdf or png):
        raise typer.BadParameter("--json writes no page: leave --pdf and --png out")
    if pdf or png or figures:
        find_chromium()  # before anything is written
    if hand_in:
        hand_in(_loaded(study, db, anonymous, curves=figures is not None)[0], named=bool(study))
        return
    if compare:
        paths = _compare(*compare, db, out, anonymous, as_json=as_json)
    else:
        paths = _report(study, db, out, anonymous, single_file=single_file, as_json=as_json)
    for path in paths:
        typer.echo(path)
    # An index of one study is not worth paper.
    _draw(paths[:1] if len(paths) == 2 else paths, pdf=pdf, png=png)


def _report(
    names: Sequence[str] | None, db: str, out: Path, anonymous: bool, *, single_file: bool, as_json: bool
) -> list[Path]:
    from cifarsweep.report.render import write_pages
    from cifarsweep.report.summary import study_fields

    studies, left_out = _loaded(names, db, anonymous, curves=not as_json)
    if as_json:
        print_json("report", [study_fields(analysis) for analysis in studies])
        return []
    paths = write_pages(studies, out, single_file=single_file, left_out=left_out)
    for analysis in studies:
        _print(analysis)
    return paths


def _loaded(
    names: Sequence[str] | None, db: str, anonymous: bool, *, curves: bool
) -> tuple[list[StudyAnalysis], list[UnreadableStudy]]:
    """The studies, and errors of those that can't be read, which are printed.

    They are raised if names are given or no study is left.
    """
    from cifarsweep.analysis.study import load_study
    from cifarsweep.store import Store

    errors: list[UnreadableStudy] = []
    with Store.open(db, read_only=True) as store:
        if names:
            studies = [load_study(store, name, curves=curves) for name in names]
        else:
            studies = list(_all_of(store, errors, curves=curves))
    for unread in errors:
        typer.echo(f"left out: {unread}", err=True)
    return _anonymous(studies, errors) if anonymous else (studies, errors)


def _all_of(store: Store, errors: list[UnreadableStudy], *, curves: bool) -> Iterator[StudyAnalysis]:
    """The studies that can be read; the errors of the others are added. Raises UnknownStudy if there is none."""
    from cifarsweep.analysis.study import load_study

    rows = store.studies.all()
    for row in rows:
        try:
            yield load_study(store, row.name, curves=curves)
        except UnreadableStudy as error:
            errors.append(error)
    if len(errors) == len(rows):
        none = UnknownStudy(f"{store.shown_url}: holds no study yet; create one with `cifarsweep create demo`")
        raise next(iter(errors), none)


def _anonymous(
    studies: Sequence[StudyAnalysis], errors: Sequence[UnreadableStudy]
) -> tuple[list[StudyAnalysis], list[UnreadableStudy]]:
    from cifarsweep.analysis.anonymous import Anonymiser
    from cifarsweep.analysis.study import analyse

    anonymiser = Anonymiser([analysis.report for analysis in studies])
    unread = [UnreadableStudy(error.study, anonymiser.text(str(error))) for error in errors]
    return [analyse(anonymiser.study(analysis.report)) for analysis in studies], unread


def _print(analysis: StudyAnalysis) -> None:
    from cifarsweep.report.effects_text import effect_lines
    from cifarsweep.report.reported_text import reported_lines
    from cifarsweep.report.results_table import results_table
    from cifarsweep.report.summary import verdict_lines

    screen = console()
    screen.print(results_table(analysis))
    for line in verdict_lines(analysis):
        screen.print(f"- {line}", markup=False, highlight=False)
    if told := effect_lines(analysis):
        screen.print("\nEffects of the factors", style="bold")
    for line in told:
        screen.print(f"- {line}", markup=False, highlight=False)
    if reported := reported_lines(analysis):
        screen.print("\nReported and found", style="bold")
    for line in reported:
        screen.print(f"- {line}", markup=False, highlight=False)


def _compare(a: str, b: str, db: str, out: Path, anonymous: bool, *, as_json: bool) -> list[Path]:
    from cifarsweep.analysis.anonymous import Anonymiser
    from cifarsweep.analysis.comparison import compare
    from cifarsweep.report.comparison_page import lead
    from cifarsweep.report.render import write_comparison
    from cifarsweep.report.summary import comparison_fields

    sides = [_side(a, db), _side(b, db)]
    if anonymous:
        sides = list(map(Anonymiser(sides).study, sides))
    comparison: Comparison = compare(*sides)
    if as_json:
        print_json("comparison", comparison_fields(comparison))
        return []
    typer.echo(lead(comparison))
    return [write_comparison(comparison, out)]


def _side(text: str, db: str) -> ReportStudy:
    """The study that `STUDY` or `DBURL#STUDY` names. Raises UnknownStudy, or StoreError for the database."""
    from cifarsweep.analysis.collect import read_compared
    from cifarsweep.store import Store

    url, _, name = text.rpartition("#")
    with Store.open(url or db, read_only=True) as store:
        return read_compared(store, name)


def _draw(pages: Sequence[Path], *, pdf: bool, png: bool) -> None:
    from cifarsweep.report.browser_print import write_pdf, write_png

    for page in pages:
        if pdf:
            typer.echo(write_pdf(page))
        if png:
            path, whole = write_png(page)
            typer.echo(path)
            if not whole:
                typer.echo(f"{path}: the page is longer than a picture can be; --pdf has all of it", err=True)
