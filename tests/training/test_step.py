"""The step as a graph and as itself: the same bits. The graphs here are make-believe but for the tests marked gpu."""

import subprocess
import sys
from collections import Counter

import pytest
import torch
from stripes import TINY, bits, finished
from torch import Tensor, nn

from cifarsweep.spec.settings import Augment, ConvNet
from cifarsweep.training import loop, step
from cifarsweep.training.layout import arrange
from cifarsweep.training.step import WARM_UPS, EagerStep, GraphStep, choose_step

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
#: 92 images in batches of 16: five full ones and an odd one of 12 an epoch
LONG = TINY.model_copy(update={"epochs": 6})


class PretendGraphs:
    """Keeps the work instead of recording it, and does it at each replay."""

    def __init__(self, refuse=False):
        self.did, self.refuse = Counter(), refuse

    def warm(self, work):
        self.did["warm"] += 1
        work()

    def capture(self, work):
        if self.refuse:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.did["capture"] += 1

        def replay():
            self.did["replay"] += 1
            work()

        return replay


@pytest.fixture
def graphs(monkeypatch):
    """Let every run train through pretended graphs, which this returns."""

    def install(**options):
        backend = PretendGraphs(**options)
        monkeypatch.setattr(loop, "choose_step", lambda state, feed, *_: GraphStep(state, feed, backend))
        return backend

    return install


@pytest.mark.parametrize("augment", [Augment(crop=2), Augment(crop=0, flip=False), Augment(mixup=1.0, cutout=4)])
def test_a_graph_trains_to_the_bits_of_the_plain_step(bench, graphs, augment):
    settings = LONG.model_copy(update={"augment": augment})
    plain = bench.events(settings)
    graphs()

    captured = bench.events(settings)

    assert bits(captured) == bits(plain)
    assert finished(captured).result.weights_sha256 == finished(plain).result.weights_sha256


def test_each_batch_size_has_one_graph_and_its_first_steps_run_as_they_are(bench, graphs):
    backend = graphs()

    bench.events(LONG)

    assert backend.did == {"warm": 2 * WARM_UPS, "capture": 2, "replay": 36 - 2 * WARM_UPS}


def test_a_network_that_cannot_be_captured_trains_without_a_graph(bench, graphs):
    plain = bench.events(LONG)
    graphs(refuse=True)

    with pytest.warns(UserWarning, match="can't be captured.*not permitted"):
        eager = bench.events(LONG)

    assert bits(eager) == bits(plain)


def test_memory_that_runs_out_in_a_capture_is_not_hidden(bench, graphs, monkeypatch):
    backend = graphs()

    def capture(work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backend, "capture", capture)
    with pytest.raises(torch.OutOfMemoryError):
        bench.events(LONG)


@pytest.mark.parametrize(("device", "on", "kind"), [("cuda", True, GraphStep), ("cuda", False, EagerStep)])
def test_a_gpu_replays_graphs_unless_told_otherwise(monkeypatch, device, on, kind):
    monkeypatch.setattr(step, "CudaGraphs", PretendGraphs)

    assert isinstance(choose_step(None, None, torch.device(device), on), kind)


def test_a_processor_takes_the_plain_step():
    assert isinstance(choose_step(None, None, torch.device("cpu"), True), EagerStep)


#: Whatever makes Python wait for the value of a tensor on a GPU.
READS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "cpu", "numpy")


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_no_step_reads_a_value_from_the_device(bench, monkeypatch, optimizer):
    chosen = TINY.optimizer.model_copy(update={"name": optimizer, "clip": 1.0})
    settings = TINY.model_copy(
        update={"epochs": 1, "log_every": 1000, "optimizer": chosen, "augment": Augment(mixup=1)}
    )
    inside, reads = [], Counter()
    for name in READS:
        _count(monkeypatch, name, inside, reads)
    plain = EagerStep.__call__

    def watched(self, part, rate):
        self._feed._plan(part.epoch)  # drawn on the CPU once an epoch
        inside.append(True)
        plain(self, part, rate)
        inside.clear()

    monkeypatch.setattr(EagerStep, "__call__", watched)
    bench.events(settings)

    assert reads == {}


def _count(monkeypatch, name, inside, reads):
    plain = getattr(Tensor, name)

    def counted(self, *arguments, **options):
        if inside:
            reads[name] += 1
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Tensor, name, counted)


def test_training_never_imports_the_compiler():
    code = """
import sys, torch
import cifarsweep.worker.trainer
from cifarsweep.spec.settings import Optimizer
from cifarsweep.training.lean import stepper
from cifarsweep.training.optimizers import make_optimizer
held = torch.nn.Parameter(torch.ones(2)); held.grad = torch.ones(2)
for name in ("adamw", "adam", "sgd"):
    optimizer = make_optimizer(Optimizer(name=name), torch.nn.ParameterList([held]))
    stepper(optimizer)(); optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_wide_convolutions_of_small_images_are_laid_out_apart_with_the_same_values():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.MaxPool2d(8), nn.BatchNorm2d(256), nn.Conv2d(256, 8, 3))
    model = model.to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, 32, 32).to(memory_format=torch.channels_last)
    expected, before = model(images), {name: tensor.clone() for name, tensor in model.state_dict().items()}

    arranged = arrange(model, images[:1])

    assert all(torch.equal(tensor, before[name]) for name, tensor in arranged.state_dict().items())
    assert arranged[3].weight.is_contiguous() and not arranged[0].weight.is_contiguous()
    torch.testing.assert_close(arranged(images), expected, rtol=1e-4, atol=1e-5)


def test_convolutions_that_make_their_weights_anew_keep_them_by_rows():
    class Standardised(nn.Conv2d):
        pass

    model = nn.Sequential(Standardised(3, 8, 3), nn.Conv2d(8, 8, 3)).to(memory_format=torch.channels_last)
    made, plain = arrange(model, torch.rand(1, 3, 8, 8))
    assert made.weight.is_contiguous() and not plain.weight.is_contiguous()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_cuda_graphs_train_to_the_bits_of_the_plain_step(bench, dropout):
    model = ConvNet(widths=(8, 16), dropout=dropout)
    settings = LONG.model_copy(update={"model": model})

    captured, plain = (bench.events(settings, device="cuda:0", graphs=graphs) for graphs in (True, False))

    assert bits(captured) == bits(plain)
    assert finished(captured).result.weights_sha256 == finished(plain).result.weights_sha256
