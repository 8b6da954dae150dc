"""What the reader chose stands in the address, and a link brings it back."""

from pathlib import Path
from typing import Any

import pytest
from support.earlier import by_an_earlier_version

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

HOSTILE = "a&b=c,d#e:f%41 <img src=x onerror=window.hacked=1>\"'</script>%{x}"
DRAWN = "Array.from(new Set(document.getElementById('curves-plot').data.map(({ name }) => name).filter(Boolean)))"


@pytest.fixture(scope="module")
def page_file(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages([analyse(make.finished(make.study()))], tmp_path_factory.mktemp("pages"))[0]


def visit(page: Any, path: Path, fragment: str) -> list[str]:
    """Open the page as a link would, and return the names of the curves."""
    page.goto("about:blank")
    page.goto(f"{path.as_uri()}#{fragment}")
    page.wait_for_selector("#curves-plot .trace")
    return list(page.evaluate(DRAWN))


def fragment(page: Any) -> str:
    return str(page.evaluate("location.hash.slice(1)"))


def test_a_link_hides_levels_and_chooses_cells(show: Any, page_file: Path) -> None:
    opened = show(page_file)

    assert visit(opened.page, page_file, "hide=lr:0.003,skip:no") == ["lr=0.001, skip=yes", "lr=0.0003, skip=yes"]
    assert visit(opened.page, page_file, "cells=lr=0.001%2C%20skip=yes") == ["lr=0.001, skip=yes"]
    assert opened.complaints == []


BAD = ["hide=lr:7,none", "what=1&hide=", "colour=nothing&hide=%E0%A4%A", "cells=nobody&=&==3"]


@pytest.mark.parametrize("bad", BAD)
def test_what_a_link_names_and_nobody_knows_is_ignored(show: Any, page_file: Path, bad: str) -> None:
    opened = show(page_file)

    assert len(visit(opened.page, page_file, bad)) == 6
    assert opened.complaints == []


def test_a_choice_is_written_into_the_address_and_an_anchor_beside_it(show: Any, page_file: Path) -> None:
    page = show(page_file).page

    page.locator("#legend button").nth(1).click()
    assert fragment(page) == "cells=lr%3D0.003%2C%20skip%3Dyes".replace("%3D", "=")
    page.evaluate("location.hash = 'trial-3'")
    page.wait_for_url("**cells=*")
    assert fragment(page).endswith("&at=trial-3")
    page.click("#show-all")

    assert fragment(page) == "trial-3"


def test_names_may_hold_any_sign(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"batch_size": (1, 2)}, seeds=1)
    cells = tuple(
        cell.model_copy(update={"name": f"{HOSTILE}{number}", "levels": {HOSTILE: f"{HOSTILE}{number}"}})
        for number, cell in enumerate(study.cells)
    )
    study = study.model_copy(
        update={"cells": cells, "factors": {HOSTILE: tuple(cell.levels[HOSTILE] for cell in cells)}}
    )
    path = write_pages([analyse(make.finished(study))], tmp_path)[0]
    opened = show(path)

    opened.page.locator("#legend button").nth(1).click()
    opened.page.locator("#chips .alone").nth(1).click()
    opened.page.select_option("#panels-by", "0")
    opened.page.select_option("#colour-by", "0")

    link = fragment(opened.page)
    assert len(visit(opened.page, path, link)) == 1
    assert fragment(opened.page) == link
    assert [part.split("=")[0] for part in link.split("&")] == ["hide", "colour", "panels", "cells"]
    assert opened.page.locator("#chips-count").text_content() == "1 of 2 cells"
    assert opened.page.evaluate("window.hacked") is None
    assert opened.page.locator("main img").count() == 0
    assert opened.complaints == []


@pytest.mark.parametrize("name", ["optimizer", "optimizer.name", "name"])
def test_a_link_may_call_a_factor_as_earlier_pages_did(show: Any, make: Any, tmp_path: Path, name: str) -> None:
    factors = {"optimizer.name": ("sgd", "adamw"), "optimizer.lr": (0.1, 0.01)}
    path = write_pages([analyse(make.finished(make.study(factors)))], tmp_path)[0]
    opened = show(path)

    names = visit(opened.page, path, f"hide={name}:adamw&colour={name}")

    assert names == ["optimizer=sgd, lr=0.1", "optimizer=sgd, lr=0.01"]
    assert fragment(opened.page) == "hide=optimizer:adamw&colour=optimizer"


@pytest.mark.parametrize("called", ["optimizer", "name"])
@pytest.mark.parametrize("stored", ["optimizer", "name"])
def test_a_link_may_name_a_cell_as_another_version_does(
    show: Any, make: Any, tmp_path: Path, stored: str, called: str
) -> None:
    study = make.study({"optimizer.name": ("sgd", "adamw"), "optimizer.lr": (0.1, 0.01)})
    study = study if stored == "optimizer" else by_an_earlier_version(study)
    path = write_pages([analyse(make.finished(study))], tmp_path)[0]
    opened = show(path)
    link, own = (f"{word}=sgd%2C%20lr=0.1" for word in (called, stored))

    names = visit(opened.page, path, f"cells={link}&compare=cell:{link},cell:{own},cell:{own}1&matrix={link}")

    assert names == [f"{stored}=sgd, lr=0.1"]
    assert fragment(opened.page) == f"cells={own}&compare=cell:{own}"
    assert opened.complaints == []
