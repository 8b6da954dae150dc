"""Cells that train the same bits are named, and no others."""

import pytest
from stripes import TINY, finished

from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.spec.settings import Augment, ConvNet, EarlyStop, Optimizer, Schedule, Settings, Validation
from cifarsweep.spec.study import Cell, Study
from cifarsweep.training.equal_cells import equal_cells, unread_settings, what_trains

SGD = Optimizer(name="sgd", lr=0.01)
EQUAL = [
    ({"optimizer": Optimizer()}, {"optimizer": Optimizer(momentum=0.5, nesterov=True)}),
    ({"optimizer": SGD}, {"optimizer": Optimizer(name="sgd", lr=0.01, beta1=0.5)}),
    ({"optimizer": Optimizer(lr=1e-3)}, {"optimizer": Optimizer(lr=2e-3, scaling="linear", base_batch=32)}),
    ({"optimizer": Optimizer(weight_decay=0.0)}, {"optimizer": Optimizer(weight_decay=0.0, decay_norms=False)}),
    ({"schedule": Schedule()}, {"schedule": Schedule(factor=0.5, final=0.1, by="epoch", warmup_start=0.1)}),
    (
        {"schedule": Schedule(name="step", factor=0.5, factors=(0.5, 0.3))},
        {"schedule": Schedule(name="step", factor=0.1, factors=(0.5, 0.3))},
    ),
    ({}, {"augment": TINY.augment.model_copy(update={"randaugment_magnitude": 3})}),
    ({}, {"validation": Validation(seed=3)}),
    ({}, {"keep_best": True, "early_stop": EarlyStop(min_delta=0.5)}),
    ({}, {"epochs": None, "steps": 12}),
    ({}, {"model": TINY.model.model_copy(update={"norm_groups": 2})}),
    ({}, {"model": TINY.model.model_copy(update={"norm_group_size": 2, "conv_bias": False})}),
    (
        {"model": TINY.model.model_copy(update={"skip": True})},
        {"model": TINY.model.model_copy(update={"skip": True, "skip_every": TINY.model.convs_per_stage})},
    ),
]
DIFFERENT = [
    ({"optimizer": SGD}, {"optimizer": Optimizer(name="sgd", lr=0.01, momentum=0.5)}),
    ({"optimizer": Optimizer(scaling="linear")}, {"optimizer": Optimizer(scaling="linear", base_batch=64)}),
    ({"schedule": Schedule(name="cosine")}, {"schedule": Schedule(name="cosine", final=0.1)}),
    ({"schedule": Schedule(warmup_steps=2)}, {"schedule": Schedule(warmup_steps=2, warmup_start=0.1)}),
    ({"schedule": Schedule(name="cosine")}, {"schedule": Schedule(name="cosine", by="epoch")}),
    ({}, {"augment": Augment(crop=1)}),
    ({}, {"model": TINY.model.model_copy(update={"norm_affine": False})}),
    ({}, {"epochs": 3}),
    ({"early_stop": EarlyStop(patience=1)}, {"early_stop": EarlyStop(patience=1), "eval_every": 3}),
]
IMAGES = 44


def change(changes):
    return TINY.model_copy(update=changes)


def same(one, other, images=IMAGES):
    return what_trains(change(one), images) == what_trains(change(other), images)


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=repr)
def test_what_is_called_equal_trains_the_same_bits(bench, one, other):
    images = len(bench.split.train_labels)
    assert same(one, other, images)
    first, second = (finished(bench.events(change(changes))).result for changes in (one, other))
    assert first.weights_sha256 == second.weights_sha256


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=repr)
def test_what_training_reads_is_not_equal(one, other):
    assert not same(one, other)


def test_of_unknown_images_steps_and_epochs_stay_different():
    assert not same({}, {"epochs": None, "steps": 12}, images=None)
    assert same(*EQUAL[0], images=None)


def test_a_sentence_names_both_cells():
    settings = Settings(epochs=1, batch_size=128)
    linear = settings.model_copy(update={"optimizer": Optimizer(scaling="linear")})
    larger = linear.model_copy(update={"batch_size": 256})
    cells = tuple(
        Cell(name=name, levels={}, settings=one)
        for name, one in (("128", settings), ("128, linear", linear), ("256, linear", larger))
    )
    study = Study(name="s", question="Which?", cells=cells, seeds=(0,))

    (sentence,) = equal_cells(study, dict.fromkeys(("128", "128, linear", "256, linear"), 50_000))

    assert "the cells '128' and '128, linear' train the same bits" in sentence


def test_a_search_has_none():
    study = read_study(find("lr-search"))
    assert not list(equal_cells(study, {cell.name: 50_000 for cell in study.cells}))


def study_of(*models, **settings):
    cells = (
        Cell(name=str(number), levels={}, settings=Settings(epochs=1, model=model, **settings))
        for number, model in enumerate(models)
    )
    return Study(name="s", question="Which?", cells=tuple(cells), seeds=(0,))


def test_a_setting_that_no_cell_reads_is_named():
    sized = ConvNet(norm="batch", norm_group_size=16)

    (sentence,) = unread_settings(study_of(sized, sized.model_copy(update={"norm": "layer"})))

    assert sentence == 'model.norm_group_size = 16 changes nothing: it needs model.norm = "group"'


def test_a_setting_that_only_some_cells_of_crossed_factors_read_is_not_named():
    norms = ("batch", "group", "none")

    assert not list(unread_settings(study_of(*(ConvNet(norm=norm, norm_group_size=16) for norm in norms))))


def test_a_setting_of_another_optimizer_or_schedule_is_named():
    study = study_of(ConvNet(), optimizer=Optimizer(nesterov=True), schedule=Schedule(factors=(0.5, 0.1)))

    assert list(unread_settings(study)) == [
        'optimizer.nesterov = yes changes nothing: it needs optimizer.name = "sgd"',
        'schedule.factors = 0.5-0.1 changes nothing: it needs schedule.name = "step"',
    ]


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_studies_that_ship_set_nothing_that_none_of_their_cells_reads(path):
    assert not list(unread_settings(read_study(path)))
