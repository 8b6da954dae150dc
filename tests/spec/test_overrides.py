"""Settings of the command line over those of a study file with arms."""

from pathlib import Path

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.overrides import parse_override
from cifarsweep.spec.reader import read_study

ARMS = """
name = "arms"
question = "Which one?"
seeds = 1
[settings]
epochs = 20
schedule = { name = "cosine", warmup_epochs = 5.0 }
[[arms]]
name = "short"
set = { batch_size = 64 }
[[arms]]
name = "long"
set = { batch_size = 64, epochs = 80 }
[[arms]]
name = "other"
set = { model = { name = "vit", dropout = 0.1 }, steps = 900, schedule.warmup_epochs = 0.0 }
[[hypotheses]]
kind = "greater"
claim = "longer is better"
a = "long"
b = "short"
[[hypotheses]]
kind = "greater"
claim = "another is better"
a = "other"
b = "short"
"""


@pytest.fixture
def read(tmp_path: Path):
    def _read(text: str = ARMS, **overrides: object):
        path, notes = tmp_path / "study.toml", []
        path.write_text(text)
        known = lambda flat: 100 if flat["batch_size"] == 64 else None  # noqa: E731
        return read_study(path, overrides=overrides, note=notes.append, epoch_steps=known), notes

    return _read


def test_without_overrides_nothing_is_said_and_nothing_changes(read):
    study, notes = read()

    assert notes == []
    assert [(cell.name, cell.settings.epochs) for cell in study.cells] == [("short", 20), ("long", 80), ("other", None)]


def test_an_override_wins_over_an_arm_and_equal_arms_are_merged(read):
    study, notes = read(epochs=1)

    assert [(cell.name, cell.settings.epochs, cell.settings.steps) for cell in study.cells] == [
        ("short", 1, None),
        ("other", 1, None),
    ]
    assert "the arm 'long' is left out: with --set it trains the same as 'short'" in notes


def test_a_hypothesis_without_its_cells_is_left_out_and_named(read):
    study, notes = read(epochs=1)

    assert [hypothesis.claim for hypothesis in study.hypotheses] == ["another is better"]
    assert any("'longer is better' is left out" in note for note in notes)


def test_a_hypothesis_about_one_cell_twice_is_left_out(read):
    text = ARMS.replace('a = "other"', "a = { batch_size = 64 }")

    study, _ = read(text, epochs=1)

    assert study.hypotheses == ()


def test_a_hypothesis_whose_metric_is_no_longer_recorded_is_left_out(read):
    text = ARMS.replace("epochs = 20\n", "epochs = 20\nkeep_best = true\n", 1)
    text = text.replace('claim = "longer is better"', 'claim = "longer is better"\nmetric = "best/accuracy"')

    assert len(read(text)[0].hypotheses) == 2
    study, notes = read(text, keep_best=False)

    assert [hypothesis.claim for hypothesis in study.hypotheses] == ["another is better"]
    assert notes == ["the hypothesis 'longer is better' is left out: with --set its metric is not recorded"]


def test_an_overridden_key_is_no_level_any_more(read):
    study, _ = read(epochs=1)

    assert all("epochs" not in cell.levels and "steps" not in cell.levels for cell in study.cells)


def test_a_level_stands_where_a_cell_has_the_setting(read):
    study, _ = read()

    assert [cell.levels.get("model.dropout") for cell in study.cells] == [0.0, 0.0, 0.1]
    assert "model.widths" not in study.cells[2].levels


def test_a_warmup_that_no_longer_fits_is_cut_with_one_sentence(read):
    study, notes = read(epochs=2)

    assert [cell.settings.schedule.warmup_epochs for cell in study.cells] == [0.2, 0.0]
    assert [note for note in notes if "warmup" in note] == [
        "schedule.warmup_epochs = 5 leaves nothing of epochs = 2; it is cut to 0.2"
    ]


def test_a_warmup_in_steps_is_cut_to_whole_steps(read):
    text = ARMS.replace("epochs = 20\n", "steps = 2000\n").replace("warmup_epochs = 5.0", "warmup_steps = 500")

    study, _ = read(text, steps=45)

    assert study.cells[0].settings.schedule.warmup_steps == 4


def test_a_warmup_by_epoch_is_cut_to_whole_epochs(read):
    text = ARMS.replace("warmup_epochs = 5.0", 'warmup_epochs = 5.0, by = "epoch"')

    assert read(text, epochs=2)[0].cells[0].settings.schedule.warmup_epochs == 0


def test_a_warmup_in_epochs_is_cut_to_a_budget_in_steps(read):
    study, notes = read(steps=500)

    assert [cell.settings.schedule.warmup_epochs for cell in study.cells] == [0.5, 0.0]
    assert "schedule.warmup_epochs = 5 leaves nothing of steps = 500; it is cut to 0.5" in notes


@pytest.mark.parametrize(("batch_size", "steps"), [(64, 501), (32, 10)])
def test_a_warmup_in_epochs_stays_where_it_fits_or_its_steps_are_unknown(read, batch_size, steps):
    study, notes = read(ARMS.replace("batch_size = 64", f"batch_size = {batch_size}"), steps=steps)

    assert study.cells[0].settings.schedule.warmup_epochs == 5.0
    assert not any("warmup" in note for note in notes)


def test_a_warmup_by_epoch_has_no_part_of_an_epoch_in_a_budget_in_steps(read):
    text = ARMS.replace("warmup_epochs = 5.0", 'warmup_epochs = 5.0, by = "epoch"')

    assert read(text, steps=500)[0].cells[0].settings.schedule.warmup_epochs == 0


def test_a_warmup_that_fits_stays(read):
    study, notes = read(epochs=6)

    assert study.cells[0].settings.schedule.warmup_epochs == 5.0
    assert not any("warmup" in note for note in notes)


def test_a_warmup_that_was_asked_for_is_refused_where_it_does_not_fit(read):
    with pytest.raises(SpecError, match="schedule.warmup_epochs: 3.0 leaves nothing of 2 epochs"):
        read(epochs=2, **{"schedule.warmup_epochs": 3.0})


def test_a_warmup_that_is_a_factor_is_refused_where_it_does_not_fit(read):
    text = ARMS[: ARMS.index("[[arms]]")].replace(", warmup_epochs = 5.0", "")

    with pytest.raises(SpecError, match="schedule.warmup_epochs: 5.0 leaves nothing of 1 epochs"):
        read(text + '[factors]\n"schedule.warmup_epochs" = [0.0, 5.0]\n', epochs=1)


@pytest.mark.parametrize("key", ["epochs", "steps"])
def test_neither_budget_overrides_the_other_where_that_is_a_factor(read, key):
    text = ARMS[: ARMS.index("[settings]")] + "[factors]\nsteps = [10, 20]\n"

    with pytest.raises(SpecError, match=f"--set {key}: .* varies (it|its rival steps)"):
        read(text, **{key: 3})


def test_phases_beyond_a_smaller_budget_are_left_for_create_to_refuse(read):
    text = ARMS.replace("warmup_epochs = 5.0", 'phases = ["10-15 x5"]')

    study, _ = read(text, epochs=1)

    assert study.cells[0].settings.schedule.phase_ranges() == [(10, 15, 5.0)]


@pytest.mark.parametrize("text", ["epochs=1\nx=2", "epochs=1\n[model]", 'epochs=1\n"a.b"=2'])
def test_one_set_sets_one_key(text):
    with pytest.raises(SpecError, match="sets more than one key"):
        parse_override(text)


def test_a_list_may_go_over_several_lines():
    assert parse_override("model.widths=[\n  8,\n  16\n]") == ("model.widths", [8, 16])


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000])
def test_a_value_that_python_can_not_read_is_one_sentence(value):
    with pytest.raises(SpecError, match="is not a TOML value") as refused:
        parse_override(f"epochs={value}")

    assert len(str(refused.value)) < 600


def test_a_hypothesis_about_a_moment_after_a_cut_budget_is_left_out(read):
    text = ARMS.replace('claim = "longer is better"', 'claim = "longer is better"\nat = { epoch = 20 }')

    kept, said = read(text, **{"optimizer.lr": 1e-4})
    cut, notes = read(text, epochs=19)

    assert [each.claim for each in kept.hypotheses] == ["longer is better", "another is better"] and said == []
    assert "longer is better" not in [each.claim for each in cut.hypotheses]
    assert any("'longer is better' is left out: with --set" in note for note in notes)


def test_of_cells_that_are_not_merged_a_moment_after_the_end_is_told(read):
    crossed = ARMS[: ARMS.index("[[arms]]")] + (
        '[factors]\nbatch_size = [64, 128]\n[[hypotheses]]\nkind = "trend"\nclaim = "x"\nfactor = "batch_size"\n'
        'direction = "falling"\nat = { epoch = 20 }\n'
    )

    study, notes = read(crossed, epochs=10)

    assert study.hypotheses == ()
    assert "the hypothesis 'x' is left out: with --set training ends before its `at`" in notes
