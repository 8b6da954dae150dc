import hashlib
import io
import pickle

import pytest
import torch

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import CheckpointError
from cifarsweep.training import serialization
from cifarsweep.training.serialization import weights_sha256


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path)


def test_tensors_and_plain_values_come_back(folder):
    state = {"tensor": torch.arange(6.0).reshape(2, 3), "nan": float("nan"), "deep": {"pair": (1, None, "x")}}
    found = serialization.load(folder, serialization.save(folder, 3, state))
    assert torch.equal(found["tensor"], state["tensor"])
    assert found["deep"] == state["deep"]
    assert found["nan"] != found["nan"]


class Bomb:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("write", [lambda value: pickle.dumps(value, protocol=2), lambda value: saved_by_torch(value)])
def test_a_pickle_with_code_is_refused_unrun(folder, capsys, write):
    ref = folder.write(1, write({"model": Bomb()}))
    with pytest.raises(CheckpointError, match="not one of cifarsweep's"):
        serialization.load(folder, ref)
    assert "code ran" not in capsys.readouterr().out


def saved_by_torch(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("payload", [b"", b"not a checkpoint", saved_by_torch([1, 2])])
def test_other_contents_are_refused(folder, payload):
    with pytest.raises(CheckpointError, match="not one of cifarsweep's"):
        serialization.load(folder, folder.write(1, payload))


def test_nothing_is_opened_before_its_digest_is_checked(folder, monkeypatch):
    ref = serialization.save(folder, 1, {"a": 1})
    (folder.path / ref.path).write_bytes(saved_by_torch({"a": 2}).ljust(ref.bytes, b"\0")[: ref.bytes])
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(CheckpointError):
        serialization.load(folder, ref)


def test_the_weights_digest_is_what_it_says():
    weights = {"b": torch.tensor([1.5, -2.0]), "a": torch.tensor(3)}
    by_hand = hashlib.sha256(b"a () torch.int64\n" + (3).to_bytes(8, "little"))
    by_hand.update(b"b (2,) torch.float32\n" + weights["b"].numpy().tobytes())
    assert weights_sha256(weights) == by_hand.hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.zeros(2, 3)},
        {"w": torch.zeros(3, 2)},
        {"w": torch.zeros(2, 3, dtype=torch.float64)},
        {"w": torch.zeros(2, 3).index_fill(0, torch.tensor([1]), -0.0)},
        {"w": torch.zeros(2, 3), "v": torch.zeros(0)},
    ],
)
def test_name_shape_dtype_and_bits_all_count(other):
    assert weights_sha256(other) != weights_sha256({"w": torch.zeros(2, 3)})


def test_memory_layout_does_not_count():
    weights = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    last = weights.to(memory_format=torch.channels_last)
    assert weights_sha256({"w": last}) == weights_sha256({"w": weights})
    assert weights_sha256({"w": weights.bfloat16()}) != weights_sha256({"w": weights})
