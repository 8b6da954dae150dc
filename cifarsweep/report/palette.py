"""Colours and dashes of cells, the same in every figure and table of a page."""

from __future__ import annotations

from dataclasses import dataclass

from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Value

#: Colours of cells, on light pages and on dark ones.
COLOURS = ("#0072b2", "#c94f00", "#00875f", "#b04f88", "#b38600", "#3a97c9", "#4d4d4d")
_DARK_COLOURS = ("#4aa3df", "#f0803c", "#2fc08f", "#e295c2", "#e8bd45", "#a5dcf7", "#c9c9c9")
#: Colours of levels that are numbers, from the least to the most: in light and in dark their lightness rises, so that
#: they keep their order in print and for eyes that tell few hues apart.
ORDERED = (
    "#1a1150", "#2f1865", "#451e7a", "#5b2390", "#742b8b", "#8d2f84", "#a82f7d",
    "#b43c6d", "#c2465a", "#cf4f42", "#cf6037", "#ce6f28", "#cd7d08",
)  # fmt: skip
DARK_ORDERED = (
    "#4a5fd4", "#6361d5", "#7962d5", "#8d62d6", "#a469cb", "#bb6ec0", "#d372b4",
    "#dd83a3", "#e8938f", "#f3a276", "#f8bc86", "#fcd696", "#fff0a6",
)  # fmt: skip
#: Plotly's names of dashes: each as a stroke-dasharray of SVG, and the outline of the shape for it, in 14 x 14.
MARKS = {
    "solid": ("", "M2 7a5 5 0 1 0 10 0a5 5 0 1 0 -10 0"),
    "dash": ("6 3", "M7 1l6 6-6 6-6-6z"),
    "dot": ("1.5 3", "M2.5 2.5h9v9h-9z"),
    "dashdot": ("7 3 1.5 3", "M5 1.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5z"),
}


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How a cell is drawn: the index of its colour, and its dash."""

    colour: int
    dash: str

    @property
    def dasharray(self) -> str:
        return MARKS[self.dash][0]

    @property
    def shape(self) -> str:
        return MARKS[self.dash][1]


def colour_rules() -> str:
    """Write CSS for colours: --c0 and on for cells, each with a class that sets --own; --s0 and on for numbers."""
    light, dark = (
        " ".join(f"--{name}{index}: {colour};" for name, each in sets for index, colour in enumerate(each))
        for sets in ((("c", COLOURS), ("s", ORDERED)), (("c", _DARK_COLOURS), ("s", DARK_ORDERED)))
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
    crossed = bool(rest) and max(colours) < len(COLOURS) and max(dashes) < len(MARKS)
    if not crossed or len(set(zip(colours, dashes, strict=True))) < len(study.cells):
        colours = [index % len(COLOURS) for index in range(len(study.cells))]
        dashes = [index // len(COLOURS) for index in range(len(study.cells))]
    names = list(MARKS)
    return {
        cell.name: CellStyle(colour, names[dash % len(names)])
        for cell, colour, dash in zip(study.cells, colours, dashes, strict=True)
    }


def _numbered(levels: list[Value] | list[tuple[Value, ...]]) -> list[int]:
    """Number the levels in the order of their first appearance; True and 1 are different levels."""
    keys = [repr(level) for level in levels]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys]
