"""Which data sets are here, and what somebody hears who asks for one that is not."""

import subprocess
import sys
import threading

import pytest

from cifarsweep.data import catalog
from cifarsweep.data.tensor_file import write
from cifarsweep.errors import DataError


def test_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFARSWEEP_DATA", str(tmp_path))
    assert catalog.data_root() == tmp_path

    monkeypatch.setenv("CIFARSWEEP_DATA", "")
    assert catalog.data_root().name == "cifarsweep"


def test_nothing_is_installed_in_a_root_that_does_not_exist(root):
    assert catalog.installed(root) == []
    assert catalog.info("cifar10", root) is None
    assert not root.exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_absent_built_in_names_the_command_that_gets_it(root, name):
    with pytest.raises(DataError, match=f"cifarsweep data download {name}$"):
        catalog.require(name, root)


def test_misspelt_name_hears_the_nearest_and_all_there_are(root, contents):
    write(catalog.path_of("my-photos", root), contents())

    with pytest.raises(DataError) as caught:
        catalog.require("my-photo", root)

    for part in (
        "'my-photo'",
        "Did you mean 'my-photos'?",
        "cifar10, cifar100, digits, my-photos",
        "data import my-photo ",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 300, "a\x1b[31m", "<script>", "a b", "naïve"])
def test_hostile_name_is_refused_and_shown_harmlessly(root, name):
    with pytest.raises(DataError) as caught:
        catalog.require(name, root)

    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
    assert not catalog.known(name, root)


def test_known_is_built_in_or_installed(root, contents):
    write(catalog.path_of("mine", root), contents())

    assert [catalog.known(name, root) for name in ("cifar100", "digits", "mine", "yours")] == [True, True, True, False]


def test_digits_are_made_on_first_use(root):
    info = catalog.require("digits", root)

    assert (info.train + info.test, len(info.classes)) == (1797, 10)
    assert info.train == catalog.BUILT_IN["digits"].train
    assert catalog.require("digits", root) == info == catalog.verify("digits", root)
    assert info.sha256 == "3c3cd27b380a4f176be359b5b03d2336adbbda81f6aef163cd82fbc0a2a442fe"


def test_digits_made_by_many_at_once_are_whole(root):
    found = []
    threads = [threading.Thread(target=lambda: found.append(catalog.require("digits", root))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4 and len({info.sha256 for info in found}) == 1
    assert [path.name for path in root.iterdir()] == ["digits.safetensors"]


def test_installed_passes_over_what_is_no_data_set(root, contents):
    write(catalog.path_of("b.2", root), contents())
    write(catalog.path_of("a", root), contents())
    (root / "notes.txt").write_text("x")
    (root / ".a.safetensors.1-ff.tmp").write_text("x")
    (root / "downloads").mkdir()

    assert [info.name for info in catalog.installed(root)] == ["a", "b.2"]


def test_one_damaged_file_does_not_hide_the_others(root, contents):
    write(catalog.path_of("good", root), contents())
    (root / "bad.safetensors").write_bytes(b"nonsense")
    damaged: list[DataError] = []

    found = catalog.installed(root, damaged.append)

    assert [info.name for info in found] == ["good"]
    assert "bad.safetensors" in str(damaged[0])
    with pytest.raises(DataError, match=r"bad\.safetensors"):
        catalog.installed(root)


@pytest.mark.parametrize("place", [4096, -1])
def test_verify_finds_one_flipped_bit(root, contents, place):
    write(catalog.path_of("mine", root), contents())
    path = catalog.path_of("mine", root)
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)

    with pytest.raises(DataError, match=r"'mine' is damaged.*data import mine"):
        catalog.verify("mine", root)


def test_root_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(DataError, match="can't list the data folder"):
        catalog.installed(tmp_path / "file")
    with pytest.raises(DataError, match="can't write the data set"):
        catalog.require("digits", tmp_path / "file")


def test_catalog_and_import_load_no_torch():
    code = "import sys, cifarsweep.data.catalog as c; n = 'numpy' in sys.modules; import cifarsweep.data.image_import; "

    done = subprocess.run(
        [sys.executable, "-c", code + "print(n, 'torch' in sys.modules)"], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["False", "False"]
