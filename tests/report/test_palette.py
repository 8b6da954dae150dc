"""Each cell has its own colour and dash."""

from typing import Any

import pytest

from cifarsweep.report.palette import DARK_ORDERED, ORDERED, cell_styles


def test_crossed_factors_choose_colour_and_dash(make: Any) -> None:
    study = make.study()

    found = [cell_styles(study)[cell.name] for cell in study.cells]

    assert [look.colour for look in found] == [0, 0, 1, 1, 2, 2]
    assert [look.dash for look in found] == ["solid", "dash"] * 3


@pytest.mark.parametrize("cells", [1, 7, 28])
def test_no_two_cells_look_alike_while_there_are_looks(make: Any, cells: int) -> None:
    study = make.study({"batch_size": tuple(range(1, cells + 1))})

    assert len(set(cell_styles(study).values())) == cells


def test_a_thousand_cells_still_have_looks(make: Any) -> None:
    study = make.study({"batch_size": tuple(range(1, 1001))}, seeds=1)

    assert len(cell_styles(study)) == 1000


@pytest.mark.parametrize("colours", [ORDERED, DARK_ORDERED])
def test_colours_of_numbers_rise_in_lightness(colours: tuple[str, ...]) -> None:
    def light(colour: str) -> float:
        red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        return float(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2)

    assert sorted(colours, key=light) == list(colours)
