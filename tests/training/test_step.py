"""What a step is made of, and how graphs are captured. test_pretended_gpu.py tests what they compute."""

import itertools
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch
from stripes import TINY, bits, finished
from torch import Tensor, nn

from cifarsweep.spec.settings import Augment, ConvNet
from cifarsweep.training import step
from cifarsweep.training.device import set_memory_format
from cifarsweep.training.step import EagerStep, GraphStep, choose_step

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
#: 92 images in batches of 16: five full ones and an odd one of 12 an epoch
LONG = TINY.model_copy(update={"epochs": 6})


@pytest.mark.parametrize(
    ("on", "capturable", "kind"), [(True, True, GraphStep), (False, True, EagerStep), (True, False, EagerStep)]
)
def test_a_gpu_replays_graphs_unless_told_otherwise_or_its_optimizer_is_not_made_for_it(
    monkeypatch, on, capturable, kind
):
    monkeypatch.setattr(step, "cuda_graphs", lambda device: None)
    optimizer = torch.optim.Adadelta([torch.zeros(1, requires_grad=True)])
    optimizer.defaults["capturable"] = capturable

    assert isinstance(choose_step(mock.Mock(optimizer=optimizer), None, torch.device("cuda"), on), kind)


def test_a_processor_takes_the_plain_step():
    assert isinstance(choose_step(None, None, torch.device("cpu"), True), EagerStep)


class PretendedGraph:
    def pool(self):
        return self.memory

    def replay(self):
        pass


@pytest.fixture
def captures(monkeypatch):
    """Let torch.cuda note (memory, stream) of each capture, memory being new where none is given."""
    found, streams, cuda_graphs = [], itertools.count(), step.cuda_graphs

    @contextmanager
    def capturing(graph, pool, stream):
        graph.memory = pool or object()
        found.append((graph.memory, stream))
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", PretendedGraph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: next(streams))
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    cuda_graphs.cache_clear()
    yield found
    cuda_graphs.cache_clear()


def test_all_trials_of_a_process_capture_on_one_stream_and_graphs_that_live_share_memory(captures):
    first = step.cuda_graphs(torch.device("cuda:0")).capture(lambda: None)
    second = step.cuda_graphs(torch.device("cuda:0")).capture(lambda: None)
    del first, second
    step.cuda_graphs(torch.device("cuda:0")).capture(lambda: None)

    (one, first_stream), (two, second_stream), (three, third_stream) = captures
    assert first_stream == second_stream == third_stream
    assert one is two and three is not two  # torch asserts that nobody captures into memory whose graphs are gone


def test_why_a_capture_failed_is_told_and_not_that_its_end_failed(captures, monkeypatch):
    @contextmanager
    def capturing(graph, pool, stream):
        try:
            yield
        except RuntimeError:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904

    def too_much():
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "graph", capturing)
    full = step._FullBatch(None, too_much, warm_ups=step.WARM_UPS)

    why = GraphStep(None, None, step.cuda_graphs(torch.device("cuda:0")))._run(full)

    assert why == "OutOfMemoryError: CUDA out of memory"


def test_after_a_failed_capture_the_generator_is_out_of_it_and_the_cache_is_empty(captures, monkeypatch):
    generator, emptied = mock.Mock(), []
    generator.clone_state.return_value = "a state that knows of no capture"
    monkeypatch.setattr(torch.cuda, "default_generators", (generator,))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))

    step.cuda_graphs(torch.device("cuda:0")).recover()

    generator.graphsafe_set_state.assert_called_once_with("a state that knows of no capture")
    assert emptied


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
        self._loader._plan(part.epoch)  # drawn on the CPU once an epoch
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


def test_training_and_its_check_never_import_the_compiler(tmp_path):
    here = Path(__file__).parent
    code = f"""
import sys, torch
sys.path[:0] = {[str(here), str(here.parent)]}
import cifarsweep.worker.child.trainer
from pathlib import Path
from stripes import TINY, Bench, make_split
from support.own_code import model, usable
from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.settings import Optimizer
from cifarsweep.training.first_steps import check_first_steps
from cifarsweep.training.optimizers import plain_step
from cifarsweep.training.optimizers import make_optimizer
held = torch.nn.Parameter(torch.ones(2)); held.grad = torch.ones(2)
for name in ("adamw", "adam", "sgd"):
    optimizer = make_optimizer(Optimizer(name=name), torch.nn.ParameterList([held]))
    plain_step(optimizer)(); optimizer.load_state_dict(optimizer.state_dict())
bench = Bench(lambda: CheckpointFolder(Path({str(tmp_path)!r})), make_split())
own = model(usable(Path({str(tmp_path / "code")!r})))
for network in (TINY.model, own):
    bench.events(TINY.model_copy(update={{"model": network, "epochs": None, "steps": 2}}))
check_first_steps(TINY.model_copy(update={{"model": own}}), 4, ImageShape(8), Path({str(tmp_path)!r}))
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_wide_convolutions_of_small_images_are_laid_out_apart_with_the_same_values():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.MaxPool2d(8), nn.BatchNorm2d(256), nn.Conv2d(256, 8, 3))
    model = model.to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, 32, 32).to(memory_format=torch.channels_last)
    expected, before = model(images), {name: tensor.clone() for name, tensor in model.state_dict().items()}

    arranged = set_memory_format(model, images[:1])

    assert all(torch.equal(tensor, before[name]) for name, tensor in arranged.state_dict().items())
    assert arranged[3].weight.is_contiguous() and not arranged[0].weight.is_contiguous()
    torch.testing.assert_close(arranged(images), expected, rtol=1e-4, atol=1e-5)


def test_convolutions_that_make_their_weights_anew_keep_them_by_rows():
    class Standardised(nn.Conv2d):
        pass

    model = nn.Sequential(Standardised(3, 8, 3), nn.Conv2d(8, 8, 3)).to(memory_format=torch.channels_last)
    made, plain = set_memory_format(model, torch.rand(1, 3, 8, 8))
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
