"""A study that trains the user's own code: what its file says of it, and which code it belongs to."""

import tomllib
from pathlib import Path

import pytest
from support.own_code import FILES, NETS, STUDY, write_files, write_study

from cifarsweep.errors import SpecError
from cifarsweep.spec.overrides import parse_overrides
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.settings import OwnModel, Settings
from cifarsweep.spec.study import Study
from cifarsweep.spec.study_diff import check_extends
from cifarsweep.spec.writer import study_toml


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def test_a_study_belongs_to_the_contents_of_its_code(file: Path):
    first = read_study(file)
    assert [each.path for each in first.code.files] == sorted(FILES)
    assert {cell.settings.model.code for cell in first.cells} == {first.code.sha256}
    assert first.cells[1].settings.model.arguments == {"depth": 2, "width": 4}

    write_files(file.parent, {"layers.py": FILES["layers.py"] + "\n# better\n"})
    second = read_study(file)

    assert second.sha256 != first.sha256 and second.code.sha256 != first.code.sha256
    with pytest.raises(SpecError, match=r"its code is not the one that it was created with \(layers\.py\), and trials"):
        check_extends(first, second)


def test_what_is_stored_and_what_a_page_shows_give_the_study_again(file: Path):
    study = read_study(file)
    assert Study.from_canonical(study.canonical()) == study

    file.write_text(study_toml(study))

    assert read_study(file).sha256 == study.sha256
    assert tomllib.loads(file.read_text())["code"] == {"files": sorted(FILES)}


def test_the_order_of_keyword_arguments_means_nothing():
    one, other = ({"name": "n:W", "b": [1, 2], "a": 0.5}, {"a": 0.5, "b": [1, 2], "name": "n:W"})
    assert OwnModel.model_validate(one).model_dump_json() == OwnModel.model_validate(other).model_dump_json()


def test_a_stored_study_without_code_keeps_its_text():
    assert '"code"' not in read_study(Path("studies/demo.toml")).canonical()


SEARCH = """
name = "s"
question = "Which net?"
code = { files = ["*.py"] }
[settings]
dataset = "digits"
epochs = 1
[search]
n_trials = 3
[search.space]
"model.name" = { choices = [CHOICES] }
"model.width" = { low = 4, high = 8 }
"""


def test_a_search_varies_own_parts_by_name(tmp_path: Path):
    """Given a search over classes of one code, then every point has its digest, and the file comes again from it."""
    file = write_study(tmp_path, SEARCH.replace("CHOICES", '"nets:Wide", "layers:Other"'))

    study = read_study(file)

    assert {cell.settings.model.code for cell in study.cells} == {study.code.sha256}
    assert {cell.levels["model.name"] for cell in study.cells} == {"nets:Wide", "layers:Other"}
    file.write_text(study_toml(study))
    assert read_study(file).sha256 == study.sha256


def test_a_search_over_own_parts_and_others_is_refused(tmp_path: Path):
    file = write_study(tmp_path, SEARCH.replace("CHOICES", '"nets:Wide", "resnet18"').replace('"model.width"', "#"))

    with pytest.raises(SpecError, match=r"search\.space\.model\.name: a search varies parts of your own by name where"):
        read_study(file)


def test_overrides_reach_keyword_arguments(file: Path):
    given = parse_overrides(["model.width=6", "model.name=nets:Wide"])
    assert {cell.settings.model.arguments["width"] for cell in read_study(file, overrides=given).cells} == {6}


def test_ours_and_the_users_networks_are_arms_of_one_study(file: Path):
    arms = '[[arms]]\nname = "ours"\nset = { "model.name" = "convnet" }\n[[arms]]\nname = "mine"\nset = {}\n'
    arms += '[[arms]]\nname = "deep"\nset = { "model.depth" = 3 }\n'
    text = STUDY.split("model = ")[0]
    file.write_text(text + 'model.name = "nets:Wide"\n' + arms)

    ours, mine, deep = read_study(file).cells

    assert ours.settings.model.name == "convnet"
    assert (mine.settings.model.arguments, deep.settings.model.arguments) == ({}, {"depth": 3})
    assert read_study(file).cells[2].levels["model.depth"] == 3


def test_code_that_nothing_names_is_told_and_left_out(file: Path):
    notes: list[str] = []
    file.write_text(STUDY.split("model = ")[0])
    assert read_study(file, note=notes.append).code is None
    assert any("no setting names a part of [code]" in note for note in notes)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('["*.py"]', '["no.py"]', r"code\.files: 'no\.py': there is no such file in "),
        ('["*.py"]', '["../*.py"]', r"'\.\./\*\.py': must be a path inside of the folder"),
        ('["*.py"]', '["/etc/hosts"]', "must be a path inside of the folder"),
        ('["*.py"]', "[]", r"code\.files: must not be empty"),
        ('["*.py"]', '["mine.toml"]', r"mine\.toml: can't be imported; name files of Python"),
        ('["*.py"]', '["json.py"]', "json.py: a library is called 'json' too"),
        ('["*.py"]', '["away.py"]', "away.py: leads out of the folder of the code"),
        ("nets:Wide", "net:Wide", r"model\.name: 'net:Wide': there is no file net\.py .* Did you mean 'nets'\?"),
        ("nets:Wide", "typer:Wide", "the package typer has no entry point 'Wide' in the group cifarsweep.models"),
        ("nets:Wide", "nets:a b", "has characters that are not allowed here"),
        ("width = 4", 'code = "x"', r"model\.code: unknown key"),
        ("width = 4", 'width = "os.system()"', r"model\.width: must be a finite number, true, false, a name"),
        ("width = 4", "width = inf", r"model\.width: must be a finite number"),
        ("width = 4", "width = { a = 1 }", "a"),
        ("epochs = 1", "epochs = 1\noptimizer.depth = 2", r"optimizer\.depth: unknown key"),
    ],
)
def test_what_can_be_no_code_is_refused_in_a_sentence(tmp_path: Path, old: str, new: str, says: str):
    folder = tmp_path / "study"
    folder.mkdir()
    file = write_study(folder, STUDY.replace(old, new))
    (folder / "json.py").write_text("")
    (tmp_path / "away.py").write_text(NETS)
    (folder / "away.py").symlink_to(tmp_path / "away.py")
    if old != '["*.py"]':
        (folder / "json.py").unlink()
        (folder / "away.py").unlink()

    with pytest.raises(SpecError, match=says) as refused:
        read_study(file)
    assert str(file) in str(refused.value)


def test_settings_of_today_say_nothing_of_code():
    assert '"code"' not in Settings(epochs=1).model_dump_json()


PARTS = """
name = "mine"
question = "Does it spread?"
code = { files = ["nets.py", "layers.py"] }
[settings]
epochs = 1
loss = { name = "nets:focal", gamma = 2.0 }
augment = { own = { name = "nets:noisy" } }
metrics = { top5 = true, own = ["nets:spread"] }
[factors]
"model.skip" = [true, false]
[[hypotheses]]
kind = "greater"
claim = "A skip spreads"
a = { "model.skip" = true }
b = { "model.skip" = false }
metric = "val/spread"
margin = 0.1
"""


def test_every_part_of_the_users_own_says_which_code_it_is_of(file: Path):
    file.write_text(PARTS)
    study = read_study(file)
    settings = study.cells[0].settings
    assert settings.loss.code == settings.augment.own.code == settings.metrics.code == study.code.sha256
    assert settings.loss.arguments == {"gamma": 2.0} and settings.metrics.names == ("top5_accuracy", "spread")
    assert Study.from_canonical(study.canonical()) == study
    file.write_text(study_toml(study))
    assert read_study(file).sha256 == study.sha256


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"val/spread"', '"val/sprad"', r"metric: 'val/sprad' is unknown\. Did you mean 'val/spread'\?"),
        ('"val/spread"', '"val/calibration_error"', r"has no val/calibration_error: set metrics = \{ ece = true \}"),
        ('["nets:spread"]', '["nets:loss"]', r"metrics\.own: there is another metric 'loss'"),
        ('"nets:focal", gamma = 2.0', '"hinge"', r"loss: 'hinge' is unknown\. .*Allowed: cross_entropy, FILE:NAME"),
        ('"nets:noisy"', '"noisy"', r"augment\.own\.name: 'noisy' has characters that are not allowed here"),
    ],
)
def test_what_can_be_no_part_is_refused(file: Path, old: str, new: str, says: str):
    file.write_text(PARTS.replace(old, new))
    with pytest.raises(SpecError, match=says):
        read_study(file)
