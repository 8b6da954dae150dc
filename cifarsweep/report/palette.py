"""Which colour and dash each cell has, the same in every figure and table of a page."""

from __future__ import annotations

from dataclasses import dataclass

from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Value

#: Colours of cells, on light pages and on dark ones.
COLOURS = ("#0072b2", "#c94f00", "#00875f", "#b04f88", "#b38600", "#3a97c9", "#4d4d4d")
_DARK_COLOURS = ("#4aa3df", "#f0803c", "#2fc08f", "#e295c2", "#e8bd45", "#a5dcf7", "#c9c9c9")
#: Names of plotly, and the same as a stroke-dasharray of SVG.
DASHES = {"solid": "", "dash": "6 3", "dot": "1.5 3", "dashdot": "7 3 1.5 3"}


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How a cell is drawn."""

    colour: int
    dash: str

    @property
    def dasharray(self) -> str:
        """The dash for SVG; empty for a solid line."""
        return DASHES[self.dash]


def colour_rules() -> str:
    """The colours of cells as CSS: the variables --c0 and on, and a class for each that sets --own."""
    light, dark = (
        " ".join(f"--c{index}: {colour};" for index, colour in enumerate(colours))
        for colours in (COLOURS, _DARK_COLOURS)
    )
    own = "\n".join(f".c{index} {{ --own: var(--c{index}); }}" for index in range(len(COLOURS)))
    screen = f"@media screen and (prefers-color-scheme: dark) {{ :root:not(.printing) {{ {dark} }} }}"
    return f":root {{ {light} }}\n{screen}\n{own}\n"


def cell_styles(study: Study) -> dict[str, CellStyle]:
    """The look of each cell by its name.

    Where factors are crossed, the first chooses the colour and the rest the dash, so that a page can be read without
    its legend; else every cell has a colour of its own until they run out, and then the next dash.
    """
    first, *rest = list(study.factors) or [""]
    colours = _numbered([cell.levels.get(first) for cell in study.cells])
    dashes = _numbered([tuple(cell.levels.get(key) for key in rest) for cell in study.cells])
    crossed = bool(rest) and max(colours) < len(COLOURS) and max(dashes) < len(DASHES)
    if not crossed or len(set(zip(colours, dashes, strict=True))) < len(study.cells):
        places = range(len(study.cells))
        colours, dashes = [place % len(COLOURS) for place in places], [place // len(COLOURS) for place in places]
    names = list(DASHES)
    return {
        cell.name: CellStyle(colour, names[dash % len(names)])
        for cell, colour, dash in zip(study.cells, colours, dashes, strict=True)
    }


def _numbered(levels: list[Value] | list[tuple[Value, ...]]) -> list[int]:
    """Each level as the place at which it first came; True and 1 are different levels."""
    keys = [repr(level) for level in levels]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return [places[key] for key in keys]
