"""Trials of one identity train the same bits, and every change that decides bits changes the identity."""

import ast
import hashlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from stripes import TINY, bits, finished

import cifarsweep
from cifarsweep.spec.settings import Augment, ConvNet, EarlyStop, Optimizer, Schedule, Settings
from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.training.identity import (
    CODE,
    rates,
    rows_identity,
    shared_rows_steps,
    shared_steps,
    training_identity,
)

IMAGES = 44
GOLDEN, GOLDEN_100 = (
    "68afbe838f8acb924d992404f44a0611f0a5bedcae59138dc216ae2847405a56",
    "68708dbb6ed74bff7e23a23a3fd20cd5b4db5e374ea7cbfd3d2ebe3c141afefa",
)
GOLDEN_ROWS, GOLDEN_ROWS_100 = (
    "ce1316aadfcf2fcb4fc3ac60578e4a280854469ce3863cec25decd99cdbb64ce",
    "735eef4777fde7075604339d8480b1979344932e39740e6ff152aece67fa90b1",
)
MACHINE = {"device": "a processor", "torch": "2.15.0", "python": "3.11.2"}


def identity(changes=None, seed=0, images=IMAGES, data="d1", environment=MACHINE, steps=None):
    return training_identity(TINY.model_copy(update=changes or {}), seed, images, data, environment, steps)


SAME = [
    {"log_every": 3, "eval_every": 2, "keep_best": True},
    {"batch_norm": "synchronised"},
    {"optimizer": TINY.optimizer.model_copy(update={"momentum": 0.1})},
    {
        "optimizer": TINY.optimizer.model_copy(
            update={"lr": 2 * TINY.optimizer.lr, "scaling": "linear", "base_batch": 2 * TINY.batch_size}
        )
    },
    {"schedule": Schedule(phases=("0-1 x1",))},
]
OTHER = [
    {"changes": {"augment": Augment(crop=1)}},
    {"changes": {"model": ConvNet(widths=(4, 4))}},
    {"changes": {"schedule": Schedule(name="cosine")}},
    {"changes": {"precision": "bfloat16"}},
    {"changes": {"threads": 2}},
    {"changes": {"devices": 2}},
    {"changes": {"epochs": 5}},
    {"changes": {"early_stop": EarlyStop(patience=1)}},
    {"seed": 1},
    {"data": "d2"},
    {"environment": MACHINE | {"torch": "2.16.0"}},
    {"environment": MACHINE | {"device": "another processor"}},
]


@pytest.mark.parametrize("changes", SAME, ids=repr)
def test_what_decides_no_bits_changes_no_identity(bench, changes):
    assert identity(changes) == identity()
    first, second = (finished(bench.events(TINY.model_copy(update=one))).result for one in ({}, changes))
    assert first.weights_sha256 == second.weights_sha256


@pytest.mark.parametrize("change", OTHER, ids=repr)
def test_what_decides_bits_changes_the_identity(change):
    assert identity(**change) != identity()


def test_neither_our_version_nor_the_digests_of_other_data_sets_are_read():
    assert identity(environment=MACHINE | {"cifarsweep": "9.9", f"{DATA_VERSION}digits": "x"}) == identity()


def test_trials_that_differ_later_share_the_identity_of_their_first_steps():
    later = {"schedule": Schedule(phases=("1-2 x5",))}
    longer = {"epochs": TINY.epochs + 3}
    per_epoch = -(-IMAGES // TINY.batch_size)
    assert identity(later, steps=per_epoch) == identity(steps=per_epoch) == identity(longer, steps=per_epoch)
    assert identity(later, steps=per_epoch + 1) != identity(steps=per_epoch + 1)
    assert identity({"early_stop": EarlyStop(patience=1)}, steps=3) == identity(steps=3)


def test_identities_stay_what_they_are():
    """A stored identity must be found again by a later version."""
    settings = Settings(epochs=1)
    assert training_identity(settings, 0, 50_000, "d", MACHINE) == GOLDEN
    assert training_identity(settings, 0, 50_000, "d", MACHINE, 100) == GOLDEN_100


SCHEDULES = st.sampled_from(
    [
        Schedule(),
        Schedule(name="cosine"),
        Schedule(name="step"),
        Schedule(name="step", milestones=(0.5,)),
        Schedule(phases=("1-2 x5",)),
        Schedule(phases=("2-3 x0.5",)),
        Schedule(warmup_steps=3),
    ]
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(SCHEDULES, SCHEDULES, st.integers(3, 8), st.integers(3, 8), st.sampled_from([0.1, 0.2]))
def test_shared_steps_are_those_whose_identities_are_equal(one, other, epochs, more, lr):
    first = TINY.model_copy(update={"schedule": one, "epochs": epochs})
    second = TINY.model_copy(update={"schedule": other, "epochs": more, "optimizer": Optimizer(lr=lr)})
    first = first.model_copy(update={"optimizer": Optimizer(lr=0.1)})

    shared = shared_steps(first, second, IMAGES)

    def digest(settings, steps):
        return training_identity(settings, 0, IMAGES, "d", MACHINE, steps)

    assert not shared or digest(first, shared) == digest(second, shared)
    if shared < min(len(rates(first, IMAGES)), len(rates(second, IMAGES))):
        assert digest(first, shared + 1) != digest(second, shared + 1)


#: Settings that write other rows though they train the same bits.
OTHER_ROWS = [
    {"log_every": 3},
    {"eval_every": 2},
    {"keep_best": True},
    {"early_stop": EarlyStop(patience=1)},
]
#: Settings that training reads as it reads those of TINY.
SAME_ROWS = [
    {"eval_every": -(-IMAGES // TINY.batch_size)},
    {"early_stop": EarlyStop(min_delta=0.1)},
    {"optimizer": TINY.optimizer.model_copy(update={"momentum": 0.1})},
    {"schedule": Schedule(phases=("0-1 x1",))},
]


def identity_of_rows(changes=None, seed=0, images=IMAGES, data="d1", environment=MACHINE, steps=None):
    return rows_identity(TINY.model_copy(update=changes or {}), seed, images, data, environment, steps)


@pytest.mark.parametrize("changes", SAME_ROWS, ids=repr)
def test_what_decides_no_row_changes_no_identity_of_rows(bench, changes):
    images = len(bench.split.train_labels)
    changes = changes if "eval_every" not in changes else {"eval_every": -(-images // TINY.batch_size)}
    assert identity_of_rows(changes, images=images) == identity_of_rows(images=images)
    assert shared_rows_steps(TINY, TINY.model_copy(update=changes), images) == len(rates(TINY, images))
    first, second = (bits(bench.events(TINY.model_copy(update=one))) for one in ({}, changes))
    assert first == second


@pytest.mark.parametrize("changes", OTHER_ROWS, ids=repr)
def test_what_decides_rows_alone_changes_the_identity_of_rows(changes):
    assert identity(changes, steps=2) == identity(steps=2)
    assert identity_of_rows(changes, steps=2) != identity_of_rows(steps=2)
    assert identity_of_rows(changes) != identity_of_rows()
    assert shared_rows_steps(TINY, TINY.model_copy(update=changes), IMAGES) == 0


@pytest.mark.parametrize("change", OTHER, ids=repr)
def test_what_decides_bits_changes_the_identity_of_rows(change):
    assert identity_of_rows(**change) != identity_of_rows()


def test_a_training_that_promises_no_bits_has_no_identity_of_rows():
    fast = TINY.model_copy(update={"determinism": "fast"})
    assert rows_identity(fast, 0, IMAGES, "d", MACHINE) is None
    assert shared_rows_steps(fast, fast, IMAGES) == 0


def test_the_first_steps_of_a_longer_training_are_no_whole_training():
    """A longer training evaluates no more at the step where a shorter one ends."""
    total = len(rates(TINY, IMAGES))
    longer = {"epochs": TINY.epochs + 1}
    assert identity_of_rows(longer, steps=total) == identity_of_rows(steps=total)
    assert identity_of_rows(longer) != identity_of_rows() != identity_of_rows(steps=total)


def test_a_budget_without_an_end_has_an_identity_of_first_steps_alone():
    """Its checkpoints have one. Nobody waits for all its rates, and no other trial shares them."""
    endless = TINY.model_copy(update={"epochs": None, "steps": 10**9})
    assert rows_identity(endless, 0, IMAGES, "d", MACHINE) is None
    assert shared_rows_steps(endless, TINY, IMAGES) == 0
    for steps in (3, 6, 5):  # TINY has six
        first = rows_identity(endless, 0, IMAGES, "d", MACHINE, steps)
        assert first == rows_identity(TINY, 0, IMAGES, "d", MACHINE, steps)


def test_identities_of_rows_stay_what_they_are():
    settings = Settings(epochs=1)
    assert rows_identity(settings, 0, 50_000, "d", MACHINE) == GOLDEN_ROWS
    assert rows_identity(settings, 0, 50_000, "d", MACHINE, 100) == GOLDEN_ROWS_100


def test_a_thousand_identities_of_one_cell_take_no_time():
    settings = Settings(epochs=100, schedule=Schedule(name="cosine"))
    rows_identity(settings, 0, 50_000, "d", MACHINE)  # the rates are computed once
    began = time.process_time()
    assert len({rows_identity(settings, seed, 50_000, "d", MACHINE) for seed in range(1000)}) == 1000
    assert time.process_time() - began < 1


EFFECTIVE = st.fixed_dictionaries(
    {
        "schedule": SCHEDULES,
        "epochs": st.integers(3, 5),
        "log_every": st.sampled_from([3, 4]),
        "eval_every": st.sampled_from([None, 2, -(-IMAGES // TINY.batch_size)]),
        "keep_best": st.booleans(),
        "early_stop": st.sampled_from([EarlyStop(), EarlyStop(min_delta=0.1), EarlyStop(patience=2)]),
    }
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(EFFECTIVE, EFFECTIVE)
def test_identities_of_rows_are_equal_where_all_that_training_reads_is(one, other):
    def effective(changes):
        settings = TINY.model_copy(update=changes)
        every = settings.eval_every or -(-IMAGES // settings.batch_size)
        stop = settings.early_stop if settings.early_stop.patience else None
        return settings.log_every, every, settings.keep_best, stop, rates(settings, IMAGES)

    same = effective(one) == effective(other)
    assert (identity_of_rows(one) == identity_of_rows(other)) == same

    first, second = TINY.model_copy(update=one), TINY.model_copy(update=other)
    shared = shared_rows_steps(first, second, IMAGES)
    assert shared in (0, shared_steps(first, second, IMAGES))
    assert not shared or identity_of_rows(one, steps=shared) == identity_of_rows(other, steps=shared)
    assert identity_of_rows(one, steps=shared + 1) != identity_of_rows(other, steps=shared + 1) or shared == len(
        rates(first, IMAGES)
    ) == len(rates(second, IMAGES))


def test_networks_that_differ_share_nothing():
    assert shared_steps(TINY, TINY.model_copy(update={"model": ConvNet(widths=(4, 4))}), IMAGES) == 0


#: The code that decides bits, as it was when `CODE` got this number. Where this test fails: if a trial could train
#: other bits than before, raise CODE in `training/identity.py`; then write the digest that the failure shows.
DECIDED = {1: "b50d15abc5580d00"}
_ROOMS = ("models", "training", "data/augment.py", "data/randaugment.py", "data/dataset.py", "data/seeding.py")
_DECIDE_NOTHING = {"listing.py", "events.py", "equal_cells.py", "identity.py", "sharing.py", "serialization.py"}


def test_a_change_of_the_code_that_decides_bits_asks_for_a_decision():
    root = Path(cifarsweep.__file__).parent
    files = [file for room in _ROOMS for file in sorted((root / room).rglob("*.py") or [root / room])]
    found = hashlib.sha256()
    for file in files:
        if file.name not in _DECIDE_NOTHING:
            found.update("\n".join(_code(file.read_text())).encode())
    assert {CODE: found.hexdigest()[:16]} == DECIDED


def _code(source):
    """Yield the lines without docstrings and comments of their own, the same in every version of Python."""
    said = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            said |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    for number, line in enumerate(source.splitlines(), start=1):
        if number not in said and line.strip() and not line.strip().startswith("#"):
            yield line
