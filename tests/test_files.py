"""Files that appear whole or not at all, what killed writers leave, and who may read what."""

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cifarsweep.files import part, private_mode, private_opener, scratch, sweep


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".cifarsweep-")]


def killed(code: str, folder: Path) -> None:
    """Run the code, which says that it is amid its writing, in a process that is killed then."""
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"amid\n"
        process.send_signal(signal.SIGKILL)


HALF = """
    import sys, time
    from pathlib import Path
    from cifarsweep.files import part
    with part(Path(sys.argv[1]) / "x", folder={folder}) as written:
        (written / "half" if {folder} else written).write_text("half")
        print("amid", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_writer_left_goes_with_the_next_and_that_of_a_living_one_stays(tmp_path, folder):
    killed(HALF.format(folder=folder), tmp_path)
    (dead,) = leftovers(tmp_path)

    with part(tmp_path / "y") as living:
        assert leftovers(tmp_path) == [living.name]
        sweep(tmp_path)
        assert living.exists() and not (tmp_path / dead).exists()


def test_a_part_that_another_process_began_to_sweep_before_it_was_locked_is_not_used(tmp_path, monkeypatch):
    lock, swept = fcntl.flock, []

    def locked_by_a_sweeper_first(handle, flags):
        if not swept:
            (name,) = leftovers(tmp_path)
            swept.append(name)
            lock(os.open(tmp_path / name, os.O_RDONLY), flags)
        lock(handle, flags)

    monkeypatch.setattr("fcntl.flock", locked_by_a_sweeper_first)
    with part(tmp_path / "x") as written:
        assert written.exists() and written.name not in swept


def test_nothing_else_is_swept(tmp_path):
    names = [".cifarsweep-0123456789abcdef.part", ".cifarsweep-x.partial", "cifarsweep-0123456789abcdef.partial", ".x"]
    for name in names:
        (tmp_path / name).write_text("mine")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / ".cifarsweep-0123456789abcdef.partial").symlink_to(outside)
    os.mkfifo(tmp_path / ".cifarsweep-0123456789abcdee.old")

    sweep(tmp_path)

    assert outside.read_text() == "mine" and all((tmp_path / name).exists() for name in names)


@pytest.mark.parametrize("folder", [False, True])
def test_a_part_that_was_renamed_stays_and_one_that_failed_goes(tmp_path, folder):
    with part(tmp_path / "x", folder=folder) as written:
        os.rename(written, tmp_path / "x")
    with pytest.raises(OSError, match="full"), part(tmp_path / "y", folder=folder):
        raise OSError("full")

    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("folder", "umask", "mode"),
    [
        (0o755, 0o022, 0o600),
        (0o700, 0o077, 0o600),
        (0o2770, 0o007, 0o660),
        (0o775, 0o022, 0o640),
        (0o1777, 0, 0o600),
        (0o777, 0, 0o600),
    ],
)
def test_who_may_read_a_new_file_follows_from_who_may_write_its_folder(tmp_path, folder, umask, mode):
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(folder)
    before = os.umask(umask)
    try:
        with open(place / "x", "xb", opener=private_opener):
            pass
    finally:
        os.umask(before)

    assert (place / "x").stat().st_mode & 0o777 == mode


def test_a_file_that_is_there_keeps_its_mode(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    (tmp_path / "x").chmod(0o644)

    with open(tmp_path / "x", "ab", opener=private_opener):
        pass

    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
    assert private_mode(tmp_path / "nowhere") == 0o600


def test_a_scratch_folder_is_its_owners_and_goes_with_what_the_dead_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed(HALF.format(folder=True), tmp_path)

    with scratch() as folder:
        (folder / "x").write_text("x")
        assert leftovers(tmp_path) == [folder.name] and folder.stat().st_mode & 0o777 == 0o700

    assert leftovers(tmp_path) == []
