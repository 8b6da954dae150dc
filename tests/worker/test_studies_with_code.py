"""Which studies of own code a worker takes, and what becomes of a trial whose code changes after that."""

from pathlib import Path

import pytest
from support.own_code import LAYERS, write_files, write_study
from support.worker import here
from test_child_main import raising, said

from cifarsweep.errors import CodeUnusable, DataError
from cifarsweep.spec.code import Code
from cifarsweep.spec.reader import read_study
from cifarsweep.store import Store
from cifarsweep.worker.child.protocol import DataRefused, Train, decode_request, encode
from cifarsweep.worker.code_here import CodeHere, files_of, parse_sources
from cifarsweep.worker.eligibility import EligibleStudies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "code").parent


@pytest.fixture
def store(tmp_path: Path, folder: Path):
    with Store.open(f"sqlite:///{tmp_path}/test.db", upgrade=True) as opened:
        opened.studies.create(read_study(folder / "mine.toml"))
        yield opened


def eligible(store: Store, *sources: object) -> EligibleStudies:
    return EligibleStudies(store, here, code=CodeHere(parse_sources(map(str, sources))))


def test_a_worker_takes_it_where_its_command_line_names_the_same_files(store, folder, tmp_path):
    (tmp_path / "other").mkdir()
    assert eligible(store, folder)(()) == eligible(store, tmp_path / "other", folder)(()) == ["mine"]
    assert eligible(store, folder / "mine.toml")(()) == ["mine"]
    with pytest.raises(DataError, match=r"study 'mine': it trains code of its own .* --code FOLDER"):
        eligible(store)(())
    with pytest.raises(DataError, match=r"no study file there names layers\.py under \[code\]"):
        eligible(store, tmp_path / "other")(())


def test_a_change_is_seen_at_the_next_poll_and_so_is_its_end(store, folder):
    poll = eligible(store, folder)
    assert poll(()) == ["mine"]
    write_files(folder, {"layers.py": LAYERS + "\n"})
    with pytest.raises(DataError, match=r"layers\.py is not the file that the study was created with at .* written at"):
        poll(())
    write_files(folder)
    assert poll(()) == ["mine"]


def test_files_that_the_settings_do_not_name_make_no_study(store, folder):
    """Who writes the database may exchange the list of files, and gains nothing."""
    stored = store.studies.get("mine")
    (first, *_) = stored.spec.code.files
    spec = stored.spec.model_copy(update={"code": Code(files=(first,))})
    with pytest.raises(CodeUnusable, match="name other files of code than it has"):
        CodeHere(parse_sources([str(folder)])).check(stored.__class__(1, "mine", "", stored.created_at, spec))


def test_a_child_says_that_the_code_is_refused_and_no_image():
    *_, refused = said(raising(CodeUnusable("nets.py: is another file")))
    assert refused == DataRefused("nets.py: is another file", of_code=True)


def test_a_request_carries_the_files_and_their_digests(store):
    files = tuple(files_of(store.studies.get("mine").spec))
    request = Train("mine/0", {}, 0, "folder", (), 60.0, code=files)
    assert decode_request(encode(request)) == request and len(files) == 2


def test_a_study_is_read_again_after_its_code_was_refused(store, folder):
    poll = eligible(store, folder)
    poll(())
    poll.forget("mine")
    assert poll.outdated and len(poll.code_files("mine")) == 2
