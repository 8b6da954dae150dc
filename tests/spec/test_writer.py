"""The study text on a page makes the same study again."""

import tomllib
from pathlib import Path

import pytest

from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.spec.study import Study
from cifarsweep.spec.writer import study_toml

BASE = 'name = "tried"\nquestion = "Which one?"\n'
FILES = {
    "one cell": "[settings]\nepochs = 1\n",
    "crossed": '[settings]\nsteps = 9\n[factors]\n"optimizer.lr" = [1e-3, 1e-05, 1.0]\n'
    '"model.norm" = ["batch", "none"]\n',
    "a list as level": '[settings]\nepochs = 1\n[factors]\n"model.widths" = [[8, 16], [16, 16]]\n',
    "exclusions": '[settings]\nepochs = 1\n[factors]\nbatch_size = [1, 2]\n"model.skip" = [true, false]\n'
    '[[exclude]]\nbatch_size = 1\n"model.skip" = true\n',
    "arms": '[settings]\nepochs = 1\n[[arms]]\nname = "as it is"\nset = {}\n[[arms]]\nname = "wide \\"net\\" é 🙂"\n'
    'set = { "model.widths" = [64, 64] }\n',
    "factors and arms": '[settings]\nepochs = 1\n[factors]\n"optimizer.lr" = [1e-3, 1e-4]\n[[arms]]\nname = "more"\n'
    'set = { "optimizer.lr" = 0.1, steps = 5, eval_every = 2 }\n',
    "an arm without the factor": '[settings]\nepochs = 1\n[factors]\n"model.skip" = [true, false]\n[[arms]]\n'
    'name = "vit"\nset = { "model.name" = "vit" }\n',
    "hypotheses": '[settings]\nepochs = 1\n[factors]\n"model.skip" = [true, false]\n[[hypotheses]]\nkind = "best"\n'
    'claim = "Skip \\\\ wins"\nfactor = "model.skip"\nlevel = true\n[[hypotheses]]\nkind = "greater"\nclaim = "above"\n'
    'a = { "model.skip" = true }\nb = "skip=no"\nmargin = 0.01\nmetric = "train/accuracy"\n',
    "reported": '[settings]\nepochs = 9\n[[reported]]\ncell = "base"\nmetric = "val/accuracy"\nvalue = 0.9498\n'
    '[[reported]]\ncell = "base"\nmetric = "val/loss"\nvalue = 1\nat = { epoch = 1.5 }\nruns = 3\n'
    'of = "mean of the last 10"\nsource = "table \\"3\\" é"\nsetting = "batch 64"\ntolerance = 0.02\n',
}


@pytest.mark.parametrize("contents", FILES.values(), ids=FILES)
def test_reading_the_text_gives_the_same_hash(contents: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(BASE + contents)
    study = read_study(first, seeds=2)

    second.write_text(study_toml(study))

    assert read_study(second).sha256 == study.sha256


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_studies_come_back(path: Path, tmp_path: Path) -> None:
    study = read_study(path, overrides={"dataset": "cifar10-jpeg-small", "epochs": 3}, seeds=1)
    copy = tmp_path / "copy.toml"

    copy.write_text(study_toml(study))

    assert read_study(copy).sha256 == study.sha256
    assert tomllib.loads(copy.read_text())["settings"]["epochs"] == 3


def test_the_text_of_a_stored_study_asks_as_its_file_did(tmp_path: Path) -> None:
    study = read_study(find("lr-study"))
    copy = tmp_path / "copy.toml"

    copy.write_text(study_toml(Study.from_canonical(study.canonical())))

    assert not {"exclude", "arms"} & tomllib.loads(copy.read_text()).keys()
    assert read_study(copy).sha256 == study.sha256
