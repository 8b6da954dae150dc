"""Studies that were created when cells of `optimizer.name` were named `name=adamw`, as a user meets them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cifarsweep.spec import study_file
from cifarsweep.spec.levels import cell_name
from cifarsweep.store import Store

STUDY = """
name = "tried"
question = "Which one?"
seeds = 2
[settings]
dataset = "digits"
epochs = 1
[factors]
"optimizer.name" = ["adamw", "sgd"]
batch_size = [32, 64]
[[hypotheses]]
kind = "greater"
claim = "AdamW is above"
a = "name=adamw, batch_size=32"
b = "name=sgd, batch_size=32"
"""


@pytest.fixture
def created(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study in the database, as an earlier version made it of the same file."""
    (tmp_path / "tried.toml").write_text(STUDY)
    with monkeypatch.context() as patch:
        patch.setattr(study_file, "cell_name", partial(cell_name, as_before=True))
        assert "8 trials added" in call("create", "tried.toml").stdout


def reported(call: Any, name: str) -> Any:
    return json.loads(call("report", name, "--json").stdout)[0]


def cells(call: Any, name: str = "tried") -> list[str]:
    return [cell["cell"] for cell in reported(call, name)["cells"]]


def words(printed: str) -> set[str]:
    return {word for word in ("name", "optimizer") if f"{word}=" in printed}


def test_its_file_is_unchanged_and_can_have_more_seeds(call: Any, created: None) -> None:
    again = call("create", "tried.toml")
    more = call("create", "tried.toml", "--seeds", "3", "--extend")

    assert "is there already, with the same contents and 8 trials" in again.stdout
    assert "tried: 4 trials added (4 cells x 3 seeds)" in more.stdout
    assert cells(call) == [f"name={name}, batch_size={size}" for name in ("adamw", "sgd") for size in (32, 64)]
    assert reported(call, "tried")["trials"] == 12


def test_what_is_printed_of_it_has_its_names(call: Any, created: None) -> None:
    printed = [
        call("create", "tried.toml", "--seeds", "3", "--extend").stdout,
        call("report", "tried").stdout,
        call("report", "tried", "--json").stdout,
        call("show", "tried/0").stdout,
        call("extend", "tried", "--until-decided", "--max-seeds", "8").stdout,
    ]

    assert [words(text) & {"optimizer"} for text in printed] == [set()] * 5
    assert words("".join(printed)) == {"name"}


def test_a_changed_file_is_refused_with_the_change_alone(call: Any, created: None) -> None:
    refused = call("create", "tried.toml", "--set", "epochs=2")

    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].strip() == "epochs: 1 -> 2 in all 4 cells" and not words(refused.stderr)


def test_the_same_file_makes_a_new_study_with_the_words_of_the_page(call: Any, created: None) -> None:
    call("create", "tried.toml", "--as", "new")

    assert cells(call, "new")[0] == "optimizer=adamw, batch_size=32"
    assert "optimizer=adamw, batch_size=32, seed 0" in call("show", "new/0").stdout


def test_a_note_on_unlike_seeds_counts_those_of_its_names(call: Any, created: None, tmp_path: Path) -> None:
    call("create", "tried.toml", "--seeds", "3", "--extend")
    with Store.open(f"sqlite:///{tmp_path / 'cifarsweep.db'}") as store:
        store.studies.add_seeds("tried", [("name=sgd, batch_size=32", seed) for seed in range(3, 40)])

    again = call("create", "tried.toml", "--seeds", "3")

    assert "note: name=adamw, batch_size=32 has 3 seeds beside 40: if it is noisier" in again.stdout
