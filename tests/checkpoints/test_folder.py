import errno
import multiprocessing
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import CheckpointError, CheckpointNotFound


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "trial")


def names(folder):
    return sorted(path.name for path in folder.path.iterdir())


def test_what_was_written_can_be_read(folder):
    ref = folder.write(12, b"contents")
    assert folder.read(ref) == b"contents"
    assert (ref.step, ref.bytes) == (12, 8)
    assert names(folder) == [os.path.basename(ref.path)]
    assert names(folder)[0].startswith("step-00000012-")


def test_a_second_checkpoint_of_a_step_leaves_the_first_alone(folder):
    first, second = folder.write(1, b"first"), folder.write(1, b"second")
    assert folder.read(first) == b"first"
    assert folder.read(second) == b"second"


def test_the_folder_may_have_moved(folder, tmp_path):
    ref = folder.write(1, b"contents")
    folder.path.rename(tmp_path / "elsewhere")
    assert CheckpointFolder(tmp_path / "elsewhere").read(ref) == b"contents"


def test_the_reader_may_use_another_folder(folder, tmp_path):
    ref = folder.write(1, b"contents")
    assert CheckpointFolder(tmp_path / "other").read(ref) == b"contents"


def read_as_nobody(ref):
    os.setgid(65534)
    os.setuid(65534)
    with pytest.raises(CheckpointNotFound):
        CheckpointFolder(Path("/nowhere")).read(ref)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_checkpoint_below_a_folder_that_is_closed_to_us_is_unseen(folder):
    """As in the home of another user, whose worker had the trial before."""
    ref = folder.write(1, b"contents")
    folder.path.chmod(0o700)
    # A fork, as the interpreter's own folder may be closed to others too.
    reader = multiprocessing.get_context("fork").Process(target=read_as_nobody, args=(ref,))

    reader.start()
    reader.join(200)

    assert reader.exitcode == 0


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.unlink(), "is gone"),
        (lambda path: path.write_bytes(b"content"), "has 7 bytes instead of 8"),
        (lambda path: path.write_bytes(b"Contents"), "SHA-256"),
        (lambda path: (path.unlink(), path.mkdir()), "is gone"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is gone"),
    ],
)
def test_damage_is_noticed(folder, damage, complaint):
    ref = folder.write(1, b"contents")
    damage(folder.path / os.path.basename(ref.path))
    with pytest.raises(CheckpointError, match=complaint):
        folder.read(ref)


def test_a_pointer_with_another_digest_is_not_followed(folder):
    ref = folder.write(1, b"contents")
    with pytest.raises(CheckpointError, match="SHA-256"):
        folder.read(replace(ref, sha256="0" * 64))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_nothing_and_spares_the_earlier_files(folder, monkeypatch, call):
    earlier = folder.write(1, b"earlier")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        folder.write(2, b"later")
    assert names(folder) == [os.path.basename(earlier.path)]
    assert folder.read(earlier) == b"earlier"


def test_a_file_that_the_system_cuts_short_is_not_kept(folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            folder.write(1, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert names(folder) == []


def test_only_the_named_files_are_removed_and_a_missing_one_is_no_matter(folder):
    first, second = folder.write(1, b"x"), folder.write(2, b"y")

    folder.remove([first.path, "/elsewhere/step-00000001-gone.pt"])

    assert names(folder) == [os.path.basename(second.path)]


def test_a_trial_that_is_done_keeps_one_file(folder):
    kept = folder.write(9, b"kept")
    CheckpointFolder(folder.path).write(10, b"of another attempt")
    (folder.path / "step-00000009-dead.partial").write_bytes(b"half")

    folder.keep_only(kept.path)

    assert names(folder) == [os.path.basename(kept.path)]


def test_what_an_attempt_that_was_killed_left_half_written_goes_with_the_next_checkpoint(folder):
    folder.write(1, b"x")
    (folder.path / ".cifarsweep-0123456789abcdef.partial").write_bytes(b"half")

    ref = folder.write(2, b"y")

    assert [path.suffix for path in folder.path.iterdir()] == [".pt", ".pt"]
    assert os.stat(ref.path).st_mode & 0o077 == 0
