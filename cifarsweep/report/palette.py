"""Colours and dashes of cells, the same in every figure and table of a page."""

from __future__ import annotations

from dataclasses import dataclass

from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Value

#: Colours of cells, on light pages and on dark ones.
COLOURS = ("#0072b2", "#c94f00", "#00875f", "#b04f88", "#b38600", "#3a97c9", "#4d4d4d")
_DARK_COLOURS = ("#4aa3df", "#f0803c", "#2fc08f", "#e295c2", "#e8bd45", "#a5dcf7", "#c9c9c9")
#: Plotly's names of dashes, and each as a stroke-dasharray of SVG.
_DASHES = {"solid": "", "dash": "6 3", "dot": "1.5 3", "dashdot": "7 3 1.5 3"}


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How a cell is drawn: the index of its colour, and its dash."""

    colour: int
    dash: str

    @property
    def dasharray(self) -> str:
        return _DASHES[self.dash]


def colour_rules() -> str:
    """Write CSS for the colours of cells: variables from --c0 on, and a class for each that sets --own."""
    light, dark = (
        " ".join(f"--c{index}: {colour};" for index, colour in enumerate(colours))
        for colours in (COLOURS, _DARK_COLOURS)
    )
    own = "\n".join(f".c{index} {{ --own: var(--c{index}); }}" for index in range(len(COLOURS)))
    screen = f"@media screen and (prefers-color-scheme: dark) {{ :root:not(.printing) {{ {dark} }} }}"
    return f":root {{ {light} }}\n{screen}\n{own}\n"


def cell_styles(study: Study) -> dict[str, CellStyle]:
    """Choose a style for each cell, by its name.

    The first of crossed factors chooses the colour and the others the dash, so that a page can be read without its
    legend. Without crossed factors every cell has a colour of its own; when these run out, the dash changes.
    """
    first, *rest = list(study.factors) or [""]
    colours = _numbered([cell.levels.get(first) for cell in study.cells])
    dashes = _numbered([tuple(cell.levels.get(key) for key in rest) for cell in study.cells])
    crossed = bool(rest) and max(colours) < len(COLOURS) and max(dashes) < len(_DASHES)
    if not crossed or len(set(zip(colours, dashes, strict=True))) < len(study.cells):
        colours = [index % len(COLOURS) for index in range(len(study.cells))]
        dashes = [index // len(COLOURS) for index in range(len(study.cells))]
    names = list(_DASHES)
    return {
        cell.name: CellStyle(colour, names[dash % len(names)])
        for cell, colour, dash in zip(study.cells, colours, dashes, strict=True)
    }


def _numbered(levels: list[Value] | list[tuple[Value, ...]]) -> list[int]:
    """Number the levels in the order of their first appearance; True and 1 are different levels."""
    keys = [repr(level) for level in levels]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys]
