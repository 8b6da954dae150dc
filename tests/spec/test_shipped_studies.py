"""The studies that ship: what each says of itself, that it shrinks to an epoch, and that its first cell trains."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.data.dataset import Split
from cifarsweep.models import cost
from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.spec.settings import Settings, Timm
from cifarsweep.training.equal_cells import equal_cells
from cifarsweep.training.events import Metrics
from cifarsweep.training.loop import Run, train
from cifarsweep.training.schedule import Budget
from cifarsweep.worker.precheck import images_to_train, training_images

SHRUNK = {"dataset": "cifar10-jpeg-small", "epochs": 1}
CLASSES = {"cifar10": 10, "cifar100": 100}
every = pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
of_cifar = pytest.mark.parametrize("path", [p for p in shipped() if p.stem != "demo"], ids=lambda path: path.stem)


def cost_text(study) -> str:
    """Trials, training images and FLOPs of a study; those of a search, whose trials may end early, at most."""
    trained = [trial.cell.settings for trial in study.trials()] or [study.cells[0].settings] * study.planned
    flops = sum(cost(one.model, CLASSES[one.dataset]).training_flops(images_seen(one)) for one in trained)
    in_peta = f"{flops / 1e15:,.0f}" if flops >= 1e16 else f"{flops / 1e15:.2g}"
    millions = (images_to_train(study) or 0) / 1e6
    end = " at most" if study.search else ""
    return f"{study.planned} trials, {millions:,.1f} million training images, {in_peta} PFLOP{end}"


def images_seen(settings: Settings) -> int:
    budget = Budget.of(settings, training_images(settings, None) or 0)
    return budget.images_seen(budget.total_steps)


def test_the_list_is_whole():
    assert {path.stem for path in shipped()} >= {
        *(
            "lr-study",
            "lr-skip-study",
            "normalization-study",
            "norm-depth-study",
            "depth-study",
            "vit-study",
            "warmup-study",
        ),
        *("optimizer-schedule-study", "batch-size-study", "dropout-study", "kernel-size-study"),
        *("resnet18-phases-study", "resnet50-baseline", "resnet18-baseline", "cifar100-transfer-study"),
    }


@every
def test_a_file_is_headed_by_its_command_its_cost_and_what_to_expect(path: Path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]

    assert head[0].startswith(f"# cifarsweep create {path.stem} && cifarsweep worker")
    assert any("Cost" in line for line in head)
    assert any("Expected" in line or "Reported" in line for line in head)


@of_cifar
def test_the_cost_on_top_of_a_file_is_that_of_its_trials(path: Path):
    study = read_study(path)
    if any(isinstance(cell.settings.model, Timm) for cell in study.cells):
        pytest.importorskip("timm")

    assert path.read_text().splitlines()[1].startswith(f"# Cost: {cost_text(study)}.")
    assert not study.cost  # which --set and --seeds would not change
    assert study.source and (study.hypotheses or study.search)


@every
def test_it_shrinks_to_an_epoch(path: Path):
    study = read_study(path, overrides=SHRUNK, seeds=1)

    assert {(cell.settings.dataset, cell.settings.epochs) for cell in study.cells} == {("cifar10-jpeg-small", 1)}
    assert study.hypotheses or study.search


@every
def test_no_two_cells_train_the_same_bits(path: Path):
    study = read_study(path)
    images = {cell.name: training_images(cell.settings, None) for cell in study.cells}

    assert not list(equal_cells(study, images))


def test_batches_of_512_for_800_epochs_take_the_steps_of_64_for_100():
    cells = {cell.name: cell.settings for cell in read_study(find("batch-size-study")).cells}
    steps = {name: -(-50_000 // cell.batch_size) * cell.epochs for name, cell in cells.items()}

    assert steps["batch 512, 800 epochs"] == pytest.approx(steps["batch 64"], rel=0.01)
    assert {name for name, cell in cells.items() if cell.optimizer.scaling == "linear"} == {"batch 512, linear rate"}


def noise(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return images.to(memory_format=torch.channels_last), torch.arange(count) % 10


@every
def test_the_first_cell_trains_for_a_few_steps(path: Path, tmp_path: Path):
    settings = read_study(path, overrides=SHRUNK, seeds=1).cells[0].settings
    if isinstance(settings.model, Timm):
        if importlib.util.find_spec("timm") is None:
            pytest.skip("timm is an extra and is not installed")
        small = settings.model.model_copy(update={"pretrained": False, "img_size": 32})
        settings = settings.model_copy(update={"model": small})
    settings = settings.model_copy(update={"batch_size": 2, "log_every": 1})
    half = torch.full((3,), 0.5)
    split = Split(*noise(4), *noise(2), half, half / 2)

    found = {}
    for event in train(Run(settings, 0, split, 10, CheckpointFolder(tmp_path))):
        found |= {(row.name, row.step): row.value for row in event.rows} if isinstance(event, Metrics) else {}
        if ("val/loss", 2) in found:
            break  # before a checkpoint of the largest of them, which has 70 million parameters

    assert math.isfinite(found["train/loss", 2]) and math.isfinite(found["val/loss", 2])
