"""The start and end of commands: full disks, closed and narrow outputs, folders without rights, Ctrl-C."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cifarsweep.cli import main, options
from cifarsweep.data import catalog
from cifarsweep.errors import DataError

CLI = f"{sys.executable} -m cifarsweep.cli"


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]):
    """Run a line of a shell, for what it may do to the outputs of a command; exit code, output and complaint."""

    def run(line: str, **more: str) -> tuple[int, str, str]:
        command = ["bash", "-c", line.replace("cifarsweep", CLI, 1)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment | more, capture_output=True, timeout=240, check=False
        )
        return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()

    return run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["--help", "studies", "data list"])
def test_a_full_disk_behind_the_output_is_one_sentence(shell, command):
    code, _, complaint = shell(f"cifarsweep {command} > /dev/full")

    assert code == 2
    assert complaint == "error: No space left on device\n"


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["worker --cpu --max-trials 1", "launch --cpus 1"])
def test_a_full_disk_below_the_log_costs_lines_not_trials(shell, call, command):
    assert call("create", "demo", "--seeds", "1", "--set", "epochs=1").returncode == 0

    code, _, complaint = shell(f"cifarsweep {command} > /dev/full")

    assert (code, complaint) == (0, "")
    assert json.loads(call("status", "demo", "--json").stdout)["trials"]["done"] >= 1


def test_an_export_to_an_output_that_is_closed_or_full_is_one_sentence(shell, call):
    assert call("create", "demo").returncode == 0

    assert shell("cifarsweep export demo --out - >&-")[::2] == (
        2,
        "error: standard output is closed; name a path with --out\n",
    )
    assert "No space left on device" in shell("cifarsweep export demo --out - > /dev/full")[2]


def test_an_output_that_nobody_reads_to_its_end_is_no_error(shell):
    code, _, complaint = shell("cifarsweep studies | true; exit ${PIPESTATUS[0]}")

    assert code in (0, 1, 141) and complaint == ""


def test_a_complaint_that_nobody_can_read_keeps_its_exit_code(shell):
    assert shell("cifarsweep create nope 2>/dev/full")[0] == 2


def test_a_terminal_without_the_characters_of_a_report_gets_others(shell, call, tmp_path):
    assert call("create", "demo").returncode == 0

    code, printed, complaint = shell("cifarsweep report", PYTHONIOENCODING="latin-1")

    assert (code, complaint) == (0, "")
    assert "|lr=0.003, skip=no  |0 |         ? |" in printed and "reports/demo.html" in printed


@pytest.mark.parametrize("columns", ["", "abc", "0", "-5", "3", "\u00b2", "9" * 30])
def test_a_width_that_is_none_is_not_believed(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)

    assert options.console().width == 160


def test_a_width_on_a_terminal_that_is_none_is_not_believed(environment, tmp_path):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*CLI.split(), "data", "list"],
        env=environment | {"COLUMNS": "0"},
        cwd=tmp_path,
        stdout=theirs,
        stderr=theirs,
        timeout=200,
    )
    os.close(theirs)

    assert done.returncode == 0 and b"Traceback" not in os.read(ours, 65536)
    os.close(ours)


def test_ctrl_c_amid_the_imports_ends_the_process_without_a_word(tmp_path, environment):
    # The folder that `python -m` is started in comes first: the import of typer is the moment of Ctrl-C.
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(600)")

    done = subprocess.run(
        [*CLI.split(), "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "priv/x"), "error: priv/x: Permission denied\n"),
        (OSError(28, "No space left on device"), "error: No space left on device\n"),
        (RecursionError("maximum recursion depth exceeded"), "error: what was given nests too deeply\n"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates"), "error: 'a\\udcff' is no text that utf-8"),
    ],
)
def test_what_no_command_foresaw_is_one_sentence(monkeypatch, capsys, error, sentence):
    def fails(**_: object) -> None:
        raise error

    monkeypatch.setattr("cifarsweep.cli.app.app", fails)
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2 and capsys.readouterr().err.startswith(sentence)


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that nobody may look into, for root too."""
    folder = tmp_path / "priv"
    stat = os.stat

    def refuses(path: object, **more: object) -> os.stat_result:
        if str(path).startswith(f"{folder}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(os, "stat", refuses)
    return folder


def test_a_data_folder_without_rights_is_one_sentence(forbidden):
    for look in (catalog.known, catalog.info, catalog.require):
        with pytest.raises(DataError, match=r"priv.*Permission denied.*CIFARSWEEP_DATA"):
            look("mine", forbidden)


def test_a_data_folder_of_nobody_is_one_sentence(monkeypatch):
    monkeypatch.setenv("CIFARSWEEP_DATA", "~no-such-user-here/data")

    with pytest.raises(DataError, match=r"CIFARSWEEP_DATA.*no-such-user-here"):
        catalog.data_root()


@pytest.mark.parametrize("group", [[], ["data"], ["db"]])
def test_what_help_says_of_a_command_is_a_whole_sentence(call, group):
    shown = call(*group, "--help", COLUMNS="80").stdout

    of_commands = shown.partition("Commands:")[2].strip().splitlines()
    assert len(of_commands) > 3
    assert [line for line in of_commands if not line.endswith(".")] == [] and "..." not in "".join(of_commands)
