"""What is said of a study before it is stored, by what only its images or timm can tell."""

import importlib.util
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.errors import CifarsweepError, SpecError
from cifarsweep.models import cost
from cifarsweep.spec.hypothesis import AtChance
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.moments import At
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.settings import ConvNet, Schedule, Settings, Timm, Validation, ViT
from cifarsweep.spec.study import Cell, Study
from cifarsweep.worker import known_here, precheck

HERE = DataSetInfo("mine", "a folder", ("a", "b"), 1000, 200, "0" * 64, 1, Path("mine"))


@pytest.fixture(autouse=True)
def images(monkeypatch):
    monkeypatch.setattr(precheck, "info", {"mine": HERE}.get)


@pytest.fixture
def no_child(monkeypatch):
    monkeypatch.setattr(precheck, "run_module", lambda *_, **__: pytest.fail("a child was started"))


def study(*settings: Settings) -> Study:
    cells = tuple(Cell(name=f"cell {number}", levels={}, settings=one) for number, one in enumerate(settings))
    return Study(name="tried", question="Does it fit?", cells=cells, seeds=(0,))


def tried(dataset: str = "mine", **changes: object) -> Settings:
    changes = {"steps": None, "epochs": 2} | changes
    return Settings(dataset=dataset, **changes)


@pytest.mark.usefixtures("no_child")
def test_what_fits_passes_without_a_child():
    precheck.check_trainable(study(tried(), tried(batch_size=1000), tried(schedule=Schedule(warmup_epochs=1.9))))


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (tried(batch_size=1001), "batch_size: 1,001 is more than the 1,000 training images of mine"),
        (tried(batch_size=900, validation=Validation(split="holdout")), "choose at most 800"),
        (tried("cifar10", batch_size=50_001), "50,001 is more than the 50,000 training images of cifar10"),
        (tried(schedule=Schedule(warmup_steps=16)), "warm-up of 16 steps .* budget of 16 steps"),
        (tried(epochs=None, steps=8, schedule=Schedule(warmup_epochs=1)), "warm-up of 8 steps"),
        (tried(schedule=Schedule(phases=("0-1 x2", "1-3 x5"))), "phases: .* ends at epoch 3, beyond .* of 2 epochs"),
        (tried("elsewhere", schedule=Schedule(phases=("5-9 x5",))), "phases: .* ends at epoch 9, beyond .* of 2"),
        (tried(epochs=None, steps=9, schedule=Schedule(phases=("0-3 x5",))), "ends at epoch 3, beyond .* of 2 epochs"),
    ],
)
def test_what_does_not_fit_the_images_names_study_cell_and_key(settings, says):
    with pytest.raises(SpecError, match=f"study 'tried', cell 'cell 1': .*{says}"):
        precheck.check_trainable(study(tried(), settings))


@pytest.mark.usefixtures("no_child")
def test_what_images_of_a_shape_can_not_have_names_study_cell_and_key(monkeypatch):
    grey = replace(HERE, shape=ImageShape(28, 1))
    monkeypatch.setattr(precheck, "info", {"mine": grey}.get)

    with pytest.raises(SpecError, match="'cell 1': model.patch_size: 8 does not divide .* 28x28 grey; use one of 1, 2"):
        precheck.check_trainable(study(tried(), tried(model=ViT(patch_size=8))))
    precheck.check_trainable(study(tried(model=ViT(patch_size=7)), tried("elsewhere", model=ViT(patch_size=5))))
    with pytest.raises(SpecError, match="patch_size: 7 does not divide the side of images of 32x32 RGB"):
        precheck.check_trainable(study(tried("cifar10", model=ViT(patch_size=7))))


def test_arithmetic_that_is_told_before_is_of_these_images(monkeypatch):
    grey = replace(HERE, shape=ImageShape(28, 1))
    monkeypatch.setattr(known_here, "info", {"mine": grey}.get)
    monkeypatch.setattr(known_here, "class_count", {"mine": 2}.get)

    assert known_here.KnownHere().flops(tried()) == cost(tried().model, 2, ImageShape(28, 1)).flops_per_image


@pytest.mark.parametrize(
    ("flat", "steps"),
    [
        ({"dataset": "mine", "epochs": 1}, 8),
        ({"dataset": "mine", "steps": 5, "batch_size": 300, "validation.split": "holdout"}, 3),
        ({"steps": 5}, 391),
        ({"dataset": "elsewhere", "epochs": 1}, None),
        ({"dataset": "mine", "epochs": 1, "batch_size": -1}, None),
    ],
)
def test_the_steps_of_an_epoch_follow_from_settings_and_images(flat, steps):
    assert precheck.epoch_steps(flat) == steps


@pytest.mark.usefixtures("no_child")
def test_a_phase_may_last_to_the_end_of_the_budget():
    whole, cut = Schedule(phases=("0-2 x5",)), Schedule(phases=("1-2 x5",))

    precheck.check_trainable(study(tried(schedule=whole), tried(epochs=None, steps=9, schedule=cut)))


@pytest.mark.usefixtures("no_child")
def test_the_same_mistake_in_several_cells_is_said_once():
    with pytest.raises(SpecError) as caught:
        precheck.check_trainable(study(*(tried(batch_size=2000, log_every=n) for n in (1, 2, 3))))

    assert str(caught.value).startswith("study 'tried', cell 'cell 0' and 2 more: batch_size")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_child")
def test_images_that_are_elsewhere_are_left_to_the_worker():
    precheck.check_trainable(study(tried("elsewhere", batch_size=10**6)))


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra and is not installed")
def test_models_of_timm_are_tried_in_one_child(monkeypatch):
    asked = []
    run = precheck.run_module
    monkeypatch.setattr(precheck, "run_module", lambda *given, **more: asked.append(given) or run(*given, **more))
    typo, coarse = Timm(name="timm:resnett18"), Timm(name="timm:test_vit", img_size=40)
    odd = Timm(name="timm:resnet18", img_size=32)

    with pytest.raises(SpecError) as caught:
        models = [tried(model=model, batch_size=27) for model in (typo, coarse, odd)]
        precheck.check_trainable(study(tried(), *models, tried(model=Timm(name="timm:test_vit"))))

    first, second, third = str(caught.value).splitlines()
    assert "'cell 1': model.name: timm has no model 'timm:resnett18'. The nearest: timm:resnet18" in first
    assert "'cell 2': model.img_size: the patch size 16" in second
    assert "'cell 3': batch_size: 27 leaves a batch of 1" in third
    assert len(asked) == 1


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra and is not installed")
def test_what_a_gpu_refuses_to_train_exactly_is_noted_and_no_error(monkeypatch):
    def here(module: str, stdin: str) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        precheck.main()
        return sys.stdout.getvalue()

    monkeypatch.setattr(precheck, "run_module", here)
    blurred, usual = Timm(name="timm:resnetblur18", img_size=32), Timm(name="timm:test_vit")

    (note,) = precheck.check_trainable(
        study(
            tried(model=usual), tried(model=blurred), tried(model=blurred, batch_size=64),
            tried(model=blurred, determinism="fast"),
        ),
    )  # fmt: skip

    assert note.startswith("study 'tried', cell 'cell 1' and 1 more: a GPU can't train timm:resnetblur18")
    assert "reflection_pad2d_backward" in note and "--set determinism=fast" in note and "--cpu" in note
    # The child has built them anyway, and says what they cost.
    assert precheck.counted_flops(usual, 2) == cost(usual, 2).flops_per_image
    assert precheck.counted_flops(usual, 3) is None


def test_vetting_imports_no_torch():
    code = "import sys, cifarsweep.worker.precheck; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_child_that_refuses_or_breaks_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "refuses.py").write_text("import sys; sys.exit(print('no such thing', file=sys.stderr) or 2)")
    (tmp_path / "breaks.py").write_text("raise OSError('disk')")
    (tmp_path / "answers.py").write_text("import sys; print(sys.stdin.read() + sys.argv[1])")

    assert precheck.run_module("answers", ["b"], stdin="a") == "ab\n"
    with pytest.raises(SpecError, match="^no such thing$"):
        precheck.run_module("refuses")
    with pytest.raises(CifarsweepError, match="(?s)exit code 1.*disk") as caught:
        precheck.run_module("breaks")
    assert not isinstance(caught.value, SpecError)


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("settings", "at", "says"),
    [
        (tried(), At(step=17), "step 17 is beyond the budget of 'cell 0', which ends at step 16"),
        (
            tried(epochs=None, steps=12),
            At(epoch=2),
            "epoch 2 is beyond the budget of 'cell 0', which ends at epoch 1.5",
        ),
        (tried(), At(step=16), None),
        (tried("elsewhere"), At(step=17), None),
    ],
)
def test_a_hypothesis_about_a_moment_after_the_end_is_named(settings, at, says):
    claim = AtChance(kind="at_chance", claim="It stays", a="cell 0", at=at)
    asked = study(settings).model_copy(update={"hypotheses": (claim,)})

    notes = precheck.check_trainable(asked)

    assert notes == ([f"the hypothesis 'It stays' will stay undecided: at: {says}"] if says else [])
    if says:
        with pytest.raises(SpecError, match=f"^study 'tried': the hypothesis .* undecided: at: {says}$"):
            precheck.check_trainable(asked, as_written=True)
    else:
        assert precheck.check_trainable(asked, as_written=True) == []


@pytest.mark.usefixtures("no_child")
def test_a_range_with_a_point_that_the_images_can_not_have_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(precheck, "info", {"mine": replace(HERE, shape=ImageShape(28, 1))}.get)
    path = tmp_path / "find.toml"
    path.write_text(
        "name = 'find'\nquestion = 'Which patch?'\n[settings]\ndataset = 'mine'\nepochs = 1\nmodel.name = 'vit'\n"
        "[search]\nn_trials = 4\n[search.space]\n'model.patch_size' = { low = 4, high = 7 }\n"
    )

    with pytest.raises(SpecError, match="'patch_size=5': .* use one of 1, .*, 28, as choices of search.space.model"):
        precheck.check_trainable(read_study(path))


@pytest.mark.usefixtures("no_child")
def test_what_several_devices_take_is_noted():
    """Group norm needs no other images, and 32 of each device are enough for batch norm."""
    few = tried(devices=4, batch_size=32)
    grouped = few.model_copy(update={"model": ConvNet(norm="group")})
    synchronised = few.model_copy(update={"batch_norm": "synchronised"})

    notes = precheck.check_trainable(study(tried(), few, grouped, synchronised, tried(devices=2, batch_size=64)))

    launch = "GPUs: start workers by `cifarsweep launch --gpus-per-trial"
    (first, small, last) = notes
    assert f"cell 'cell 1' and 2 more: each trial trains on 4 {launch} 4`" in first
    assert "cell 'cell 1': batch norm measures 8 images on each device" in small
    assert f"cell 'cell 4': each trial trains on 2 {launch} 2`" in last
