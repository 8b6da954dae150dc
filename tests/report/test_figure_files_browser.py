"""Figures as files, drawn by the real Chromium: SVG whose texts are texts, PDF with its fonts, pictures of 600 dpi."""

import re
import shutil
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from report.everything import everything
from support.pages import crossed, searched

from cifarsweep.analysis.study import analyse
from cifarsweep.errors import SpecError
from cifarsweep.report import render
from cifarsweep.report.browser_print import VARIABLE
from cifarsweep.report.figure_files import Figure, Paper, drawn_figures, write_figures

HERE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(HERE is None, reason="no Chromium on PATH: nothing is drawn"),
    pytest.mark.long,
]
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>x()</script>&\"']]>%{x}\u202e"


@pytest.fixture(scope="module")
def drawn(make: Any) -> list[Figure]:
    return drawn_figures(analyse(everything(make)), Paper())


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def svg_of(figures: list[Figure], name: str) -> str:
    content = next(figure.content for figure in figures if figure.name == name)
    assert isinstance(content, str)
    return content


def test_every_figure_of_the_page_is_drawn_under_its_name(drawn: list[Figure]) -> None:
    names = [figure.name for figure in drawn]

    assert {"curves-val-accuracy", "curves-train-loss", "finals", "gaps", "classes"} <= set(names)
    cells = [name for name in names if name.startswith("confusion-")]
    assert len(cells) == len(set(cells)) > 1
    assert {name for name in names if name.startswith("costs-")} >= {"costs-elapsed-s", "costs-energy-j"}
    assert {"resources-gpu-memory-bytes", "resources-gpu-utilisation"} <= set(names)
    assert {"effects", "interaction-lr-skip"} <= set(names) and len(names) == len(set(names))


def test_texts_stay_texts_of_eight_points_and_the_legend_is_inside(drawn: list[Figure]) -> None:
    svg = svg_of(drawn, "curves-val-accuracy")

    found = set(texts(svg))
    names = {f"lr={lr}, skip={skip}" for lr in ("0.001", "0.003") for skip in ("no", "yes")}
    # Where a font is too wide for two columns of names, a line names the factors and entries have the levels alone.
    briefs = {re.sub(r"\w+=", "", name) for name in names} | {"lr, skip:"}
    assert names <= found or briefs <= found
    sizes = {float(size) for size in re.findall(r"font-size: ?([\d.]+)px", svg)}
    assert sizes and max(sizes) == pytest.approx(8 / 72 * 96, abs=0.01)
    assert (
        "Steps" in texts(svg)
        and "foreignObject" not in svg
        and "<script" not in svg
        and "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
    )


def test_what_is_no_plot_of_plotly_is_drawn_as_it_is_laid_out(drawn: list[Figure]) -> None:
    heat, effects = (texts(svg_of(drawn, name)) for name in ("interaction-lr-skip", "effects"))

    assert {"lr", "skip", "0.001", "no", "93.5 %"} <= {text.replace("\u202f", " ") for text in heat}
    assert {"lr", "skip", "0.001", "0.003", "yes"} <= set(effects)
    assert svg_of(drawn, "interaction-lr-skip").count("<rect") >= 4 and "<circle" in svg_of(drawn, "effects")
    assert "class=" not in svg_of(drawn, "effects") and "var(" not in svg_of(drawn, "effects")


def test_a_search_has_its_figures_with_names_of_axes() -> None:
    figures = drawn_figures(analyse(searched()), Paper(width_mm=174.0))

    assert {"history", "importance", "parallel", "pair", "search"} <= {figure.name for figure in figures}
    assert {"lr", "batch_size"} <= set(texts(svg_of(figures, "pair")))
    points = [svg_of(figures, name).count("<circle") for name in ("history", "pair")]
    assert all(count > 30 for count in points) and "<linearGradient" in svg_of(figures, "pair")


def test_the_lines_of_a_search_fit_into_a_column() -> None:
    figure = next(one for one in drawn_figures(analyse(searched()), Paper()) if one.name == "parallel")

    drawn = ET.fromstring(str(figure.content))
    ends = [
        # No letter of these faces is narrower on average.
        float(text.attrib["x"]) + 0.4 * float(text.attrib["font-size"]) * len("".join(text.itertext()))
        for text in drawn.iter(f"{SVG}text")
    ]
    assert ends and max(ends) <= figure.width
    heights = {"".join(text.itertext()).strip(): float(text.attrib["y"]) for text in drawn.iter(f"{SVG}text")}
    assert heights["lr"] + 8 < heights["weight_decay"] > heights["batch_size"] + 8  # names of neighbours in two lines


def test_a_view_is_that_of_the_page() -> None:
    figures = drawn_figures(analyse(crossed()), Paper(view="hide=lr:0.03,lr:0.1&y=train/loss"))

    found = [text for text in texts(svg_of(figures, "curves-train-loss"))]
    assert sum("0.3, " in text or "lr=0.3" in text for text in found) == 4 and not any("0.03" in text for text in found)
    assert "curves-val-accuracy" not in {figure.name for figure in figures}


def test_a_view_may_name_a_cell_as_earlier_versions_did() -> None:
    now, before = (f"lr=0.3%2C%20{word}=sgd%2C%20skip=yes" for word in ("optimizer", "name"))

    found = [drawn_figures(analyse(crossed()), Paper(view=f"cells={cell}&matrix={cell}")) for cell in (now, before)]

    assert found[0] == found[1] != drawn_figures(analyse(crossed()), Paper())


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        ("colour=nope", "'colour=nope' names nothing on the page of study 'crossed'. There is: lr, optimizer, skip"),
        ("color=lr", "'color' names no part of a view. Did you mean 'colour'? There is: hide, colour, "),
        ("hide=lr:0.1,lr:0.2", "'hide=lr:0.2' names nothing on the page of study 'crossed'. Did you mean "),
        ("y=train/los", "'y=train/los' names nothing on the page of study 'crossed'. Did you mean 'train/loss'?"),
        ("logx=yes", "'logx=yes' names nothing on the page of study 'crossed'. There is: 0, 1"),
    ],
)
def test_a_view_that_names_nothing_is_refused(view: str, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        drawn_figures(analyse(crossed()), Paper(view=view))

    assert str(refused.value).startswith(f"--view: {sentence}")


#: What may come between two steps of the drawing of a file: the page's own drawing, styles that the browser adds late.
BETWEEN = {
    "  repeat();\n": "  await new Promise((done) => setTimeout(done, 3));\n",
    '  const plot = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;\n': """
  for (const part of [plot, ...plot.querySelectorAll("[style]")]) {
    const style = part.getAttributeNode("style");
    if (style) part.setAttributeNode(part.removeAttributeNode(style));
  }
""",
}


def test_the_same_study_gives_the_same_files_whatever_comes_between(
    make: Any, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = render._asset

    def disturbed(name: str) -> str:
        text = asset(name)
        for step, between in BETWEEN.items() if name == "files.js" else ():
            assert step in text
            text = text.replace(step, step + between)
        return text

    monkeypatch.setattr(render, "_asset", disturbed)

    again = drawn_figures(analyse(everything(make)), Paper())

    pairs = [(one.content.split("<"), two.content.split("<")) for one, two in zip(drawn, again, strict=True)]
    assert [pair for one, two in pairs for pair in zip(one, two, strict=True) if pair[0] != pair[1]] == []
    assert again == drawn


def test_hostile_names_stay_texts(make: Any) -> None:
    study = make.study({"optimizer.lr": (0.1, 0.2)})
    cells = tuple(cell.model_copy(update={"name": f"{HOSTILE}{place}"}) for place, cell in enumerate(study.cells))
    report = make.finished(study.model_copy(update={"cells": cells}))
    names = {"train/loss": HOSTILE}
    series = {(number, names.get(metric, metric)): values for (number, metric), values in report.series.items()}

    figures = drawn_figures(analyse(replace(report, series=series)), Paper(face="serif"))

    found = [text for figure in figures if isinstance(figure.content, str) for text in texts(figure.content)]
    assert any("<script>x()</script>&" in text for text in found)
    assert all(re.fullmatch(r"[a-z0-9-]+", figure.name) for figure in figures)
    assert all("<script" not in figure.content for figure in figures if isinstance(figure.content, str))


def test_a_pdf_is_one_page_of_the_figures_size_with_its_fonts(drawn: list[Figure], tmp_path: Path) -> None:
    paper = Paper(form="pdf")
    figure = next(figure for figure in drawn if figure.name == "finals")

    content = next(write_figures("tried", [figure], tmp_path, paper)).read_bytes()

    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content)
    assert box and float(box[1]) == pytest.approx(84 / 25.4 * 72, abs=1)
    assert float(box[2]) == pytest.approx(float(box[1]) * figure.height / figure.width, abs=1)
    parts = [content]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    assert any(b"/FontFile2" in part or b"/FontFile3" in part or b"/Type3" in part for part in parts)


def test_one_browser_prints_all_pdfs(drawn: list[Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho started >> {tmp_path}/started\nexec {HERE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program))

    paths = list(write_figures("tried", drawn[:3], tmp_path / "figures", Paper(form="pdf")))

    assert len({path.read_bytes() for path in paths}) == 3
    assert all(path.read_bytes().startswith(b"%PDF") for path in paths)
    assert (tmp_path / "started").read_text() == "started\n"


def test_a_picture_has_600_dots_an_inch_and_the_width_of_a_page(make: Any, tmp_path: Path) -> None:
    paper = Paper(form="png", width_mm=174.0)
    figure = drawn_figures(analyse(make.finished(make.study({}))), paper)[0]

    with Image.open(next(write_figures("tried", [figure], tmp_path, paper))) as picture:
        assert picture.info["dpi"][0] == pytest.approx(600, abs=2)
        assert picture.width == pytest.approx(174 / 25.4 * 600, abs=8)
        assert picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
