"""Results in a notebook: `cifarsweep.open(url).study("lr-study")`, with DataFrames, the main figure and the verdicts.

Only reads. DataFrames need pandas (the extra `notebook`).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from cifarsweep.errors import OutputError, UnknownStudy, install_command
from cifarsweep.report.palette import COLOURS
from cifarsweep.spec.metrics import ELAPSED, bounds
from cifarsweep.store import Store

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

STEP = "step"
#: x and y of one trial.
Curve = tuple[npt.NDArray[Any], npt.NDArray[np.float64]]


class Results:
    """A database of studies, opened for reading."""

    def __init__(self, url: str) -> None:
        self._store = Store.open(url, read_only=True)
        # After `open(url).study(name)` no variable refers to these results, so nothing could close them.
        self._store.close_when_unused()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<cifarsweep results of {self._store.shown_url}>"

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def studies(self) -> pd.DataFrame:
        """A row a study: name, question, trials, time of creation. Warns of each that can't be read."""
        columns = ("name", "question", "trials", "created_at")
        rows = self._store.studies.all()
        for row in rows:
            if row.unreadable:
                warnings.warn(row.unreadable, stacklevel=2)
        return _frame([[getattr(row, column) for column in columns] for row in rows], columns)

    def study(self, name: str) -> StudyResults:
        """One study. Raises UnknownStudy, which lists what there is."""
        if not isinstance(name, str):
            known = ", ".join(repr(row.name) for row in self._store.studies.all())
            raise UnknownStudy(f"a study is called by its name, a text, not {name!r}; there are: {known or 'none yet'}")
        self._store.studies.get(name)
        return StudyResults(self._store, name)


class StudyResults:
    """The results of one study. Every call reads again, so that it follows a study under way."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name

    def __repr__(self) -> str:
        return f"<study {self._name!r} of {self._store.shown_url}>"

    def trials(self) -> pd.DataFrame:
        """A row a trial, by number: cell, seed, state, and a column for each level and each last metric.

        A metric whose name is taken gets `last/` in front, except the training time, which the trial has itself. Where
        a trial took steps over, `source` is the trial that it has them from; sums of times leave `reused_s` out.
        """
        rows = self._store.trials.all(self._name)
        levels = list(dict.fromkeys(key for row in rows for key in row.levels))
        finals = sorted({name for row in rows for name in row.final} - {ELAPSED})
        trained = ("state", "outcome", "step", "elapsed_s", "source", "reused_steps", "reused_s", "weights_sha256")
        plain = ("number", "cell", "seed", *trained)
        table = [
            [
                *(getattr(row, column) for column in plain),
                len(row.attempts),
                (row.trained_by or row.attempts)[-1].host if row.attempts else None,
                ", then ".join(dict.fromkeys(each.device for each in row.trained_by)) or None,
                *(row.levels.get(key) for key in levels),
                *(row.final.get(name) for name in finals),
            ]
            for row in rows
        ]
        columns = ["trial", *plain[1:], "attempts", "host", "device"]
        for name in (*levels, *finals):
            columns.append(_free(name, columns))
        return _frame(table, columns).set_index("trial")

    def metrics(self, names: str | Sequence[str] | None = None) -> pd.DataFrame:
        """A row a value: trial, cell, seed, name, step, value; of all metrics if no names are given."""
        from cifarsweep.export.series import COLUMNS, curves

        wanted = [names] if isinstance(names, str) else list(names or ())
        parts = [
            _pandas().DataFrame(
                {
                    "trial": curve.trial.number,
                    "cell": curve.trial.cell,
                    "seed": curve.trial.seed,
                    "name": curve.name,
                    "step": curve.steps,
                    "value": curve.values,
                }
            )
            for group in curves(self._store, self._name, wanted)
            for curve in group
        ]
        return _pandas().concat(parts, ignore_index=True) if parts else _frame([], COLUMNS)

    def verdicts(self) -> pd.DataFrame:
        """A row a hypothesis: the claim, the decision, estimate, interval, p corrected, seeds, sentence and warning."""
        from cifarsweep.analysis.study import load_study
        from cifarsweep.formatting import labels_of
        from cifarsweep.report.verdict_text import sentence, warning

        rows, analysis = [], load_study(self._store, self._name, curves=False)
        with labels_of(analysis.study):
            sentences = [(sentence(verdict), warning(verdict)) for verdict in analysis.verdicts]
        for verdict, said in zip(analysis.verdicts, sentences, strict=True):
            fields = asdict(verdict)
            low, high = (verdict.interval.low, verdict.interval.high) if verdict.interval else (None, None)
            numbers = [fields[key] for key in ("estimate", "effect", "p", "corrected", "seeds", "more_seeds")]
            rows.append([verdict.hypothesis.claim, str(verdict.decision), low, high, *numbers, *said])
        columns = ("claim", "decision", "low", "high", "estimate", "effect", "p", "p_corrected", "seeds", "more_seeds")
        return _frame(rows, (*columns, "sentence", "warning"))

    def effects(self) -> pd.DataFrame:
        """A row a level of a crossed factor: its mean over the others, the ends of its interval, cells and runs.

        Without rows for a study that crosses no factors.
        """
        from cifarsweep.analysis.study import load_study

        found, rows = load_study(self._store, self._name, curves=False).effects, []
        for main in found.factors if found else ():
            for each in main.levels:
                one, ends = each.found, each.found.interval
                low, high = (ends.low, ends.high) if ends else (None, None)
                rows.append([main.factor, each.level, one.mean, low, high, one.cells, one.seeds])
        return _frame(rows, ("factor", "level", "mean", "low", "high", "cells", "runs"))

    def reported(self) -> pd.DataFrame:
        """A row a number that others reported: what was found, where a run of ours would end, and the sentence."""
        from cifarsweep.analysis.study import load_study
        from cifarsweep.formatting import moment_text
        from cifarsweep.report.reported_text import reported_lines, source_text

        rows, analysis = [], load_study(self._store, self._name, curves=False)
        # Notes on reported runs come after the sentences.
        for held, said in zip(analysis.reported, reported_lines(analysis), strict=False):
            fact, found, interval = held.reported, held.found, held.interval
            ours = (found.mean, found.n) if found else (None, 0)
            ends = (interval.low, interval.high) if interval else (None, None)
            standing = str(held.standing) if held.standing else None
            known = (fact.cell, fact.metric, moment_text(fact.at), fact.of, fact.runs, fact.value)
            rows.append([*known, *ours, *ends, standing, source_text(held), said])
        columns = ("cell", "metric", "at", "of", "runs", "reported", "found", "n", "low", "high", "standing", "source")
        return _frame(rows, (*columns, "sentence"))

    def figure(self, metric: str | None = None, x: str = STEP) -> go.Figure:
        """Mean and 95 % band over the seeds, of two their range. `x` is `step` or a metric such as `elapsed_s`.

        The metric is by default what the study is about: the validation accuracy, or that of its program.

        Against steps, the runs that others reported are thin grey lines behind them, up to the last step of ours.
        Raises OutputError for a metric without rows in the study.
        """
        from cifarsweep.export.series import curves

        metric = metric or self._store.studies.get(self._name).spec.metric
        wanted = [metric] if x == STEP else [metric, x]
        cells: dict[str, list[Curve]] = {}
        for group in curves(self._store, self._name, wanted):
            by_name = {curve.name: (curve.steps, curve.values) for curve in group}
            if all(name in by_name for name in wanted):
                steps, values = by_name[metric]
                across = steps if x == STEP else np.interp(steps, *by_name[x])
                cells.setdefault(group[0].trial.cell, []).append((across, values))
        figure = _drawn(cells, metric, x)
        last = max((float(seed[0][-1]) for seeds in cells.values() for seed in seeds), default=0.0)
        for name, (steps, values) in self._reported_runs(metric, last) if x == STEP else ():
            line = {"color": "#85877f", "width": 1}
            figure.add_scatter(x=steps, y=values, name=f"{name} (reported)", mode="lines", line=line, zorder=-1)
        return figure

    def _reported_runs(self, metric: str, last: float) -> Iterator[tuple[str, Curve]]:
        """The curves of reported runs by name, up to a step."""
        from cifarsweep.analysis.reported_runs import cut
        from cifarsweep.analysis.study import load_study

        spec = self._store.studies.get(self._name).spec
        if spec.reported_runs is None:
            return
        found = load_study(self._store, self._name, curves=metric != spec.metric).runs
        for run in found.curves if found else ():
            if metric in run.curves and (curve := cut(run.curves[metric], last)):
                yield run.run, curve


def _drawn(cells: Mapping[str, Sequence[Curve]], metric: str, x: str) -> go.Figure:
    import plotly.graph_objects as go

    from cifarsweep.stats import band

    figure = go.Figure()
    for index, (cell, seeds) in enumerate(cells.items()):
        mean, colour = band(seeds), COLOURS[index % len(COLOURS)]
        # Student's t knows no bounds.
        low, high = (edge.clip(*bounds(metric)) for edge in (mean.low, mean.high))
        around = [*mean.grid, *mean.grid[::-1]], [*high, *low[::-1]]
        shared = {"legendgroup": cell, "mode": "lines"}
        area = {"fill": "toself", "fillcolor": colour, "opacity": 0.15, "line": {"width": 0}, "hoverinfo": "skip"}
        figure.add_scatter(x=around[0], y=around[1], showlegend=False, **area, **shared)
        figure.add_scatter(
            x=mean.grid, y=mean.mean, name=f"{cell} (n = {len(seeds)})", line={"color": colour}, **shared
        )
    return figure.update_layout(xaxis_title=x, yaxis_title=metric, template="plotly_white", hovermode="x unified")


def open(url: str) -> Results:  # noqa: A001 - the name that reads best behind `cifarsweep.`
    """Open a database of studies for reading, as a context manager, until `close`, or until nothing refers to it.

    `url` is an SQLAlchemy URL such as `sqlite:///cifarsweep.db`. Raises StoreError if it can't be opened.
    """
    return Results(url)


def _free(name: str, taken: Collection[str]) -> str:
    """The name, with `last/` in front until it is free: pandas can't write two columns of one name."""
    return _free(f"last/{name}", taken) if name in taken else name


def _frame(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> pd.DataFrame:
    frame: pd.DataFrame = _pandas().DataFrame(rows, columns=list(columns))
    return frame


def _pandas() -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        raise OutputError(f"a DataFrame needs one more package: {install_command('notebook')}") from None
    return pandas
