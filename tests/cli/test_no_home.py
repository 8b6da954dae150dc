"""A user without a home folder, as in a container that runs under a number that it doesn't know."""

import pytest

NOBODY = "import pwd\n\ndef nobody(uid):\n    raise KeyError(uid)\n\npwd.getpwuid = nobody\n"


@pytest.fixture
def homeless(cli, environment, tmp_path):
    """Run a command without $HOME and without an entry in the list of users."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOBODY)

    for name in ("HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    environment["PYTHONPATH"] = str(tmp_path / "site")
    return cli


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (("create", "demo"), "let CIFARSWEEP_DATA name the folder of the data sets"),
        (("data", "list"), "let CIFARSWEEP_DATA name the folder of the data sets"),
        (("status", "--db", "sqlite:///~/x.db"), "give the whole path of the file"),
        (
            ("worker", "--cpu", "--db", "postgresql://localhost:1/x"),
            "name the place of the checkpoints with --artifacts",
        ),
    ],
)
def test_whoever_has_no_home_gets_a_sentence(homeless, tmp_path, command, advice):
    done = homeless(*command, CIFARSWEEP_DATA="")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no home folder here" in done.stderr and advice in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_doctor_sees_that_there_is_no_home(homeless):
    done = homeless("doctor", "--db", "postgresql://localhost:1/x", CIFARSWEEP_DATA="")

    assert done.returncode == 1
    lines = {line.split("  ")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("fail")}
    assert all("has no home folder here" in lines[name] for name in ("data sets", "checkpoints"))


def test_doctor_sees_a_home_in_which_nothing_can_be_written(homeless):
    done = homeless("doctor", HOME="/proc/nowhere", CIFARSWEEP_DATA="")

    assert "none in /proc/nowhere/.local/share/cifarsweep, where none can be written" in done.stdout


def test_nobody_needs_a_home_who_names_the_folders(homeless):
    assert homeless("create", "demo").returncode == 0
    assert "demo" in homeless("status").stdout
