"""A trial on several devices: real processes on this processor, which train the same bits whatever is interrupted."""

import psutil
import pytest
from support.own_code import write_files
from training_child import DIGITS, TrainingChild, bits, change, last_saved

from cifarsweep.spec.code import read_code
from cifarsweep.spec.metrics import TRAIN_LOSS, VAL_LOSS
from cifarsweep.spec.settings import (
    Augment,
    ConvNet,
    EarlyStop,
    Optimizer,
    OwnAugmentation,
    OwnLoss,
    OwnModel,
    Validation,
)
from cifarsweep.spec.types import Outcome
from cifarsweep.training.events import Finished, Metrics, Rejected, Saved
from cifarsweep.worker.child.peers import Peers
from cifarsweep.worker.child.protocol import Failed, Train

pytestmark = pytest.mark.long
#: What one process does and another one not, and a network whose random numbers and buffers count.
CODE = """
import os, signal
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

class Drops(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes)
        self.idle, self.sometimes = nn.Linear(2, 2), nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, images):
        features = F.dropout(self.norm(self.conv(images)).relu(), 0.3, self.training).mean((2, 3))
        if self.training:
            self.seen.lerp_(features.detach().mean(0), 0.1)
            if torch.rand(()) < 0.5:
                features = features + self.sometimes(features)
        return self.head(features - self.seen)

def noisy(images):
    return images + 0.1 * torch.randn_like(images)

def smooth(logits, labels):
    return F.cross_entropy(logits, labels, label_smoothing=0.2)

def raising(logits, labels):
    if dist.get_rank() == 1:
        raise ValueError("labels of the second device are not to my taste")
    return F.cross_entropy(logits, labels)

def killed(logits, labels):
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return F.cross_entropy(logits, labels)

def hungry(logits, labels):
    if dist.get_rank() == 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return F.cross_entropy(logits, labels)
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = write_files(
        tmp_path_factory.mktemp("code"), {"own.py": CODE, "named.toml": '[code]\nfiles = ["own.py"]\n'}
    )
    return folder, read_code(["own.py"], folder, "a test")


@pytest.fixture(scope="module")
def child(tmp_path_factory, code):
    """A child whose second process stays from test to test."""
    yield from alive(TrainingChild(tmp_path_factory.mktemp("trials"), str(code[0])))


@pytest.fixture
def fresh(tmp_path, code):
    """A child that a test may end."""
    yield from alive(TrainingChild(tmp_path, str(code[0])))


def alive(child):
    yield child
    child.process.kill()


def own(kind, name, code):
    return kind(name=f"own:{name}", code=code[1].sha256)


def files(code):
    return {"code": tuple((file.path, file.sha256) for file in code[1].files)}


KINDS = {
    "dropout, and odd parts": {},
    "mixing": {"augment": Augment(crop=1, flip=False, mixup=0.4, cutmix=1.0)},
    "synchronised": {"batch_norm": "synchronised", "optimizer": Optimizer(name="sgd", lr=0.05, clip=0.5)},
    "tested": {"validation": Validation(split="holdout"), "keep_best": True, "batch_size": 401},
    "stops early": {"epochs": 9, "keep_best": True, "early_stop": EarlyStop(patience=1, min_delta=1.0)},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_trial_that_is_stopped_goes_on_to_the_same_bits(child, name):
    settings = change(**KINDS[name])
    whole = bits(child.train(settings))

    assert bits(child.train_in_two_parts(settings, rows=2)) == whole
    child.others(1)  # the second process stays for the next trial


def test_own_parts_with_random_numbers_buffers_and_idle_layers_go_on_to_the_same_bits(child, code):
    parts = {"model": own(OwnModel, "Drops", code), "loss": own(OwnLoss, "smooth", code)}
    settings = change(**parts, augment=Augment(crop=1, flip=False, own=own(OwnAugmentation, "noisy", code)))
    whole = bits(child.train(settings, **files(code)))

    assert bits(child.train_in_two_parts(settings, rows=3, **files(code))) == whole


def test_another_process_that_ended_between_trials_is_replaced(child):
    whole = bits(child.train(DIGITS))
    (other,) = child.others(1)
    other.kill()
    assert not psutil.wait_procs([other], timeout=200)[1]

    assert bits(child.train(DIGITS)) == whole


def test_no_trial_begins_with_a_process_that_has_ended_unheard(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Peers, "_watch", lambda self: None)  # the thread that hears of it has not run yet
    peers = Peers(["cpu", "cpu"], [], pytest.fail)
    peers.end_of_trial()
    (process,) = peers._processes

    with process:
        process.kill()
        process.wait()

        assert not peers.usable and not peers.begin(Train("digits/0", {}, 0, "", (), 0.0))


def test_what_diverges_ends_on_all_devices(child):
    ended = child.train(change(optimizer=Optimizer(name="sgd", lr=1e30)))[-1]

    assert isinstance(ended, Finished) and ended.result.outcome is Outcome.DIVERGED


PLAIN = {"optimizer": Optimizer(name="sgd", lr=0.05), "model": ConvNet(widths=(4, 8), convs_per_stage=1)}


SAME = (
    {"batch_norm": "synchronised"},
    {"model": ConvNet(widths=(4, 8), convs_per_stage=1, norm="layer")},
    {"batch_norm": "synchronised", "augment": Augment(crop=0, flip=False, mixup=0.4, cutmix=1.0)},
    {"batch_norm": "synchronised", "precision": "bfloat16"},
)


def test_two_devices_train_what_one_does_but_for_rounding_and_neither_goes_on_from_the_other(child):
    both = [change(**PLAIN | changes) for changes in SAME]
    two = [child.train(settings) for settings in both]

    one = [child.train(settings.model_copy(update={"devices": 1})) for settings in both]

    child.others(0)
    for changes, found, expected in zip(SAME, two, one, strict=True):
        near = pytest.approx(losses(expected), rel=1e-2 if "precision" in changes else 1e-4)
        assert losses(found) == near and len(losses(found)) == 6, changes
    refused = child.train(both[0], resume=(last_saved(one[0]),))
    assert "belongs to another trial" in next(event.reason for event in refused if isinstance(event, Rejected))


def losses(events):
    rows = [row for event in events if isinstance(event, Metrics) for row in event.rows]
    return [row.value for row in rows if row.name in (TRAIN_LOSS, VAL_LOSS)][:6]


def test_a_leader_that_is_killed_leaves_no_process_and_another_child_goes_on_to_the_same_bits(child, fresh):
    whole = bits(child.train(DIGITS))
    fresh.send(DIGITS, save_every_s=0.0)
    first = []
    for reply in fresh.replies():
        first.append(reply)
        if isinstance(reply, Saved) and reply.checkpoint.step == 3:
            others = fresh.others(1)
            psutil.Process(fresh.process.pid).kill()

    gone, left = psutil.wait_procs(others, timeout=200)
    second = child.train(DIGITS, resume=(last_saved(first),))

    assert len(gone) == 1 and not left
    rows = bits(second)
    assert rows.items() <= whole.items() and rows["weights"] == whole["weights"]


def test_another_process_that_is_killed_ends_the_child_like_itself(fresh, code):
    settings = change(loss=own(OwnLoss, "killed", code))

    replies = fresh.train(settings, **files(code))
    fresh.process.reap()

    assert not [reply for reply in replies if isinstance(reply, (Failed, Finished))]
    report = fresh.process.exit_report()
    assert "ended by signal SIGKILL" in report and "one of the 2 processes of the trial ended by signal" in report


@pytest.mark.parametrize(
    ("name", "short", "words"),
    [("raising", False, "ValueError: labels of the second device"), ("hungry", True, "OutOfMemoryError: CUDA out of")],
)
def test_what_another_process_raises_is_what_the_trial_failed_with(fresh, code, name, short, words):
    settings = change(loss=own(OwnLoss, name, code))
    fresh.send(settings, **files(code))
    others, ended = [], None
    for reply in fresh.replies():
        others, ended = others or fresh.others(1), reply
    fresh.process.reap()

    assert isinstance(ended, Failed) and ended.child_ends and ended.out_of_memory is short
    assert words in ended.error and "in the second" not in ended.error and "own.py" in ended.traceback
    assert not psutil.wait_procs(others, timeout=200)[1]


def test_three_devices_with_uneven_parts_go_on_to_the_same_bits(child):
    settings = change(devices=3, batch_norm="synchronised")
    whole = bits(child.train(settings))

    assert bits(child.train_in_two_parts(settings, rows=4)) == whole
    child.others(2)
    assert bits(child.train(settings, seed=1)) != whole
