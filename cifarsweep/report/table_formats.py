"""Writes tables to hand in as LaTeX (booktabs and siunitx), Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cifarsweep.errors import OutputError
from cifarsweep.export.output import harmless
from cifarsweep.files import write_atomically
from cifarsweep.formatting import magnitude
from cifarsweep.report.table_cells import Chance, Count, Ends, Entry, Number, PaperTable
from cifarsweep.spec.levels import level_text
from cifarsweep.text import escape_controls, one_line

TableFormat = Literal["latex", "markdown", "csv"]

_LEAST_P = 0.001
#: Counts from here on are written with three digits and a power of ten, or a prefix.
_LARGE = 100_000
#: Signs of a text that is broken into lines, and rows beyond which a table of LaTeX is broken into pages.
_LONG, _MOST_ROWS = 30, 30
#: Signs that LaTeX takes for commands, https://ctan.org/pkg/lshort, and signs that its text fonts lack or change.
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", "'": r"{'}", '"': r"{\textquotedbl}", "-": "{-}", "*": "{*}",
    "[": "{[}", "]": "{]}", "\N{MINUS SIGN}": r"{$-$}", "\N{PLUS-MINUS SIGN}": r"{$\pm$}",
    "\N{MULTIPLICATION SIGN}": r"{$\times$}", "\N{NARROW NO-BREAK SPACE}": r"\,", "\N{EN DASH}": "--",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``", "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip
_LAYOUT = r"\small\setlength{\tabcolsep}{4pt}"
#: A hyphen within a word is one in LaTeX too; others might join to a dash.
_HYPHEN = re.compile(r"(?<=[^\W_])-(?=[^\W_])")
#: What starts something in a table of GitHub's Markdown, links and mentions included, https://github.github.com/gfm/.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&$@#]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def write_tables(tables: Sequence[PaperTable], form: TableFormat, out: Path) -> list[Path]:
    """Write each table into a file STUDY-NAME of the folder `out` and return their paths. Raises OutputError."""
    paths = [out / f"{table.study}-{table.name}.{_FORMATS[form].ending}" for table in tables]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, table in zip(paths, tables, strict=True):
            write_atomically(path, table_text(table, form).encode())
    except OSError as error:
        raise OutputError(
            f"{out}: the tables can't be written there: {error.strerror}; choose another folder with --out"
        ) from error
    return paths


def table_text(table: PaperTable, form: TableFormat) -> str:
    """The table as text, with a line feed at its end."""
    return _FORMATS[form].write(table)


def latex_text(text: str) -> str:
    """Escape a text for a paragraph or a cell of LaTeX: no sign of it is read as a command, a ligature or an option."""
    words = _HYPHEN.split(one_line(text))
    return "-".join("".join(_LATEX.get(sign, sign) for sign in word) for word in words)


def markdown_text(text: str) -> str:
    """Escape a text for a cell of a Markdown table: none of it is read as a mark, a link, a mention or HTML."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def _latex(table: PaperTable) -> str:
    columns = [[row[place] for row in table.rows] for place in range(len(table.columns))]
    spec = f"@{{}}{' '.join(map(_latex_column, columns))}@{{}}"
    heads = " & ".join(f"{{{latex_text(name)}}}" for name in table.columns)
    caption = rf"\caption{{{latex_text(table.caption)}}}"
    label = rf"\label{{tab:{table.study}-{table.name}}}"
    rows = [rf"    {' & '.join(map(_latex_entry, row))} \\" for row in table.rows]
    rules = [r"    \toprule", rf"    {heads} \\", r"    \midrule"]
    long = len(rows) > _MOST_ROWS
    packages = "booktabs,longtable,siunitx" if long else "booktabs,siunitx"
    lines = [
        rf"% Preamble: \usepackage[T1]{{fontenc}} \usepackage{{{packages}}}",
        r"% 92.31(45) is 92.31 plus or minus 0.45; \sisetup{separate-uncertainty} prints it so.",
    ]
    if long:
        lines += [rf"{{{_LAYOUT}", rf"\begin{{longtable}}{{{spec}}}", rf"  {caption} {label} \\"]
        lines += [*rules, r"    \endfirsthead", *rules, r"    \endhead"]
        lines += [*rows, r"    \bottomrule", r"\end{longtable}}"]
    else:
        lines += [
            r"\begin{table}",
            rf"  \centering{_LAYOUT}",
            f"  {caption}",
            f"  {label}",
            rf"  \begin{{tabular}}{{{spec}}}",
        ]
        lines += [*rules, *rows, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_column(entries: Sequence[Entry]) -> str:
    """`S` for numbers, aligned at their point; a paragraph for long texts, `l` for short ones, else `r`."""
    numbers = [entry for entry in entries if isinstance(entry, Number) and math.isfinite(entry.value)]
    if numbers:
        whole, decimals = (max(len(part) for part in parts) for parts in zip(*map(_parts, numbers), strict=True))
        sign = "-" if any(entry.text.startswith("-") for entry in numbers) else ""
        digits = max((len(str(entry.uncertainty)) for entry in numbers if entry.uncertainty is not None), default=0)
        spread = f"({digits})" if digits else ""
        return f"S[table-format={sign}{whole}.{decimals}{spread}]"
    texts = [entry for entry in entries if isinstance(entry, str)]
    if not texts:
        return "r"
    return r">{\raggedright\arraybackslash}p{0.26\linewidth}" if max(map(len, texts)) > _LONG else "l"


def _parts(number: Number) -> tuple[str, str]:
    """The digits before and after the point."""
    whole, _, decimals = number.text.removeprefix("-").partition(".")
    return whole, decimals


def _latex_entry(entry: Entry) -> str:
    match entry:
        case None:
            return "{--}"
        case str():
            return latex_text(entry)
        case Chance(value):
            return r"$<$\,\num{0.001}" if value < _LEAST_P else rf"\num{{{value:.2g}}}"
        case Count(value):
            return rf"\num{{{_power(value)}}}" if value >= _LARGE else f"{value:g}"
        case Ends(low, high):
            return " to ".join(_latex_number(end) for end in (low, high))
    if not math.isfinite(entry.value):
        return f"{{{latex_text(level_text(entry.value))}}}"
    return entry.text if entry.uncertainty is None else f"{entry.text}({entry.uncertainty})"


def _latex_number(number: Number) -> str:
    return rf"\num{{{number.text}}}" if math.isfinite(number.value) else latex_text(level_text(number.value))


def _power(value: float) -> str:
    """Three digits and a power of ten, as siunitx reads it: `1.17e6`."""
    mantissa, _, power = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(power)}"


def _markdown(table: PaperTable) -> str:
    heads = [markdown_text(name) for name in table.columns]
    texts = [any(isinstance(row[place], str) for row in table.rows) for place in range(len(heads))]
    rows = [heads, ["---" if text else "---:" for text in texts]]
    rows += [[_markdown_entry(entry) for entry in row] for row in table.rows]
    caption = f"**{table.name.capitalize()}.** {markdown_text(table.caption)}"
    return "\n".join([caption, "", *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _markdown_entry(entry: Entry) -> str:
    match entry:
        case None:
            return "\N{EN DASH}"
        case str():
            return markdown_text(entry)
        case Chance(value):
            return "< 0.001" if value < _LEAST_P else f"{value:.2g}"
        case Count(value):
            return magnitude(value) if value >= _LARGE else f"{value:g}"
        case Ends(low, high):
            return f"{_signed(low.text)} to {_signed(high.text)}"
    return _signed(entry.text) + (f" ± {entry.half:.{entry.decimals}f}" if entry.half is not None else "")


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _csv(table: PaperTable) -> str:
    columns = list(dict.fromkeys(key for row in table.raw for key in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_csv_text, columns))
    for row in table.raw:
        writer.writerow(_csv_field(row.get(column)) for column in columns)
    return text.getvalue()


def _csv_field(value: object) -> object:
    """A number as Python writes it, to all of its digits; nothing for None; a text that no spreadsheet runs."""
    match value:
        case str():
            return _csv_text(value)
        case bool() | tuple():
            return _csv_text(level_text(value))
    return value


def _csv_text(text: str) -> str:
    return harmless(escape_controls(text))


@dataclass(frozen=True, slots=True)
class _Format:
    ending: str
    write: Callable[[PaperTable], str]


_FORMATS: Mapping[str, _Format] = {
    "latex": _Format("tex", _latex),
    "markdown": _Format("md", _markdown),
    "csv": _Format("csv", _csv),
}
