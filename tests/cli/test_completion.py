"""What the shell offers after Tab: asked as bash asks, in a folder with a database."""

import subprocess
import sys
import threading

import pytest
import typer

from cifarsweep.cli import completion
from cifarsweep.cli.app import app


@pytest.fixture
def offered(call, monkeypatch):
    """What is offered for the last word of a line, however long this machine takes to find it."""
    monkeypatch.setattr(completion, "_PATIENCE_S", 200.0)

    def _offered(line: str, **more: str) -> list[str]:
        words = line.split(" ")
        asked = {"_CIFARSWEEP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        done = call(**(asked | more))
        assert done.stderr == ""
        return done.stdout.split()

    return _offered


@pytest.fixture
def studies(call):
    for name in ("alpha", "beta"):
        assert call("create", "demo", "--seeds", "1", "--as", name).returncode == 0


@pytest.mark.parametrize(
    "command", ["status", "report", "export", "extend", "pause", "note", "create --from", "worker --study"]
)
def test_studies_of_the_database_are_offered(offered, studies, command):
    assert offered(f"cifarsweep {command} ") == ["alpha", "beta"]
    assert offered(f"cifarsweep {command} be") == ["beta"]


@pytest.mark.parametrize("command", ["show", "replay", "cancel", "note"])
def test_trials_are_offered_after_the_slash(offered, studies, command):
    assert offered(f"cifarsweep {command} beta/") == [f"beta/{number}" for number in range(4)]


def test_where_a_trial_is_wanted_one_study_offers_its_trials(offered, studies):
    assert offered("cifarsweep show b") == [f"beta/{number}" for number in range(4)]
    assert offered("cifarsweep show ") == ["alpha/", "beta/"]


def test_the_database_is_the_one_that_is_named(offered, studies, call):
    assert call("create", "demo", "--as", "gamma", "--db", "sqlite:///other.db").returncode == 0

    assert offered("cifarsweep status --db sqlite:///other.db ") == ["gamma"]
    assert offered("cifarsweep status ", CIFARSWEEP_DB="sqlite:///other.db") == ["gamma"]


def test_shipped_studies_and_settings_are_offered(offered):
    assert "lr-study" in offered("cifarsweep studies lr") and "demo" in offered("cifarsweep create ")
    assert {"optimizer", "optimizer.lr"} <= set(offered("cifarsweep settings opt"))


@pytest.mark.parametrize("url", ["sqlite:///none.db", "sqlite:///text.db", "mysql://x/y", "postgresql://127.0.0.1:1/x"])
def test_where_there_is_no_database_nothing_is_offered_and_nothing_said(offered, tmp_path, url):
    (tmp_path / "text.db").write_text("no database")

    assert offered("cifarsweep status ", CIFARSWEEP_DB=url) == []
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_does_not_answer_does_not_hold_the_prompt(monkeypatch):
    """Given a look-up that waits for ever, when the patience is over, then there is no offer."""
    monkeypatch.setattr(completion, "_PATIENCE_S", 0.05)
    over = threading.Event()

    def never() -> list[str]:
        over.wait(30)
        return ["late"]

    assert completion._quietly(never) == []
    over.set()


def test_torch_is_not_imported_for_it(studies, tmp_path, environment):
    script = (
        "import sys; from types import SimpleNamespace as S; from cifarsweep.cli import completion as c; "
        "c._PATIENCE_S = 100; here = S(params={'db': 'sqlite:///cifarsweep.db'}); "
        "assert c.studies(here, '') and c.settings('') and c.shipped(''); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"


def test_every_command_that_takes_a_study_or_trial_offers_some():
    """No command is forgotten: what is called STUDY, TRIAL or KEY offers something."""
    commands = dict(typer.main.get_command(app).commands)
    plain = [
        f"{name} {param.name}"
        for name, command in commands.items()
        for param in command.params
        if any(word in str(param.metavar) for word in ("STUDY", "SEARCH", "KEY|", "STUDY/TRIAL"))
        and getattr(param, "_custom_shell_complete", None) is None
    ]

    assert plain == []
