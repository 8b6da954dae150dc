"""Mistakes on a command line are told in our own words: what, where, what to do."""

import re

import pytest
import typer

from cifarsweep.cli.app import app
from cifarsweep.cli.usage_errors import UsageError, usage_sentence

#: Words of Typer and of pydantic, which it asks.
THEIRS = re.compile(r"Input should|Invalid value|Value error|No such|Got unexpected|Missing |requires|does not|Usage:")


def sentence(*arguments: str) -> str:
    with pytest.raises(UsageError) as refused:
        app(list(arguments), prog_name="cifarsweep", standalone_mode=False)
    return usage_sentence(refused.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["creat"], "cifarsweep has no command 'creat'. Did you mean 'create'? `cifarsweep --help` lists them all"),
        (["db", "x"], "cifarsweep db has no command 'x'. `cifarsweep db --help` lists them all"),
        (
            ["create", "--seed", "3"],
            "cifarsweep create has no option --seed. Did you mean '--seeds'? `cifarsweep create --help` lists them all",
        ),
        (
            ["create", "a", "b", "(c"],
            "cifarsweep create: 'b (c' is too much; `cifarsweep create --help` says what it takes",
        ),
        (["show"], "cifarsweep show: STUDY/TRIAL is missing; `cifarsweep show --help` says what it is"),
        (["create", "a", "--seeds"], "--seeds needs a value"),
        (["status", "--all=3"], "--all takes no value"),
        (["create", "a", "--seeds", "0"], "--seeds: must be at least 1, not '0'"),
        (["create", "--from", "a", "--seeds", "0"], "--seeds: must be at least 1, not '0'"),
        (["create", "a", "--seeds", "x"], "--seeds: must be a whole number, not 'x'"),
        (["worker", "--max-trials", "0"], "--max-trials: must be at least 1, not '0'"),
        (["worker", "--save-every", "x"], "--save-every or $CIFARSWEEP_SAVE_EVERY: must be a number, not 'x'"),
        (["priority", "a", "x"], "N: must be a whole number, not 'x'"),
        (
            ["export", "a", "--format", "cvs"],
            "--format: 'cvs' is unknown. Did you mean 'csv'? Allowed: csv, jsonl, parquet, tensorboard",
        ),
        (["create"], "give a study, a .toml file or --from SEARCH: one of them"),
        (["import-tensorboard", ".", "--as", "x", "--rename", "y"], "--rename: 'y' is not OLD=NEW"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(arguments: list[str], says: str) -> None:
    assert sentence(*arguments) == says


def commands(group: typer.core.TyperGroup, *names: str):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield [*names, name], command


def test_no_option_of_any_command_answers_in_words_that_are_not_ours() -> None:
    """Given every option, when it has no value, or one of no use where it takes few, then our words say so."""
    told = 0
    for names, command in commands(typer.main.get_command(app)):
        for option in (one for one in command.params if one.param_type_name == "option"):
            name = max(option.opts, key=len)
            wrong = [[f"{name}=x"]] if option.is_flag else [[name]]
            # Texts take anything, and are refused by us.
            if option.type_descriptor.annotation in (int, float):
                wrong.append([name, "x"])
            for given in wrong:
                said = sentence(*names, *given)
                assert not THEIRS.search(said) and name in said, said
                told += 1
    assert told > 100


def test_an_option_without_a_text_is_refused_and_does_not_mean_that_it_was_left_out() -> None:
    """A variable that is not set makes `--hosts "$HOSTS"` empty."""
    told = 0
    for names, command in commands(typer.main.get_command(app)):
        for option in (one for one in command.params if one.param_type_name == "option" and not one.is_flag):
            name, others = max(option.opts, key=len), ["x"] * (option.nargs - 1)
            assert sentence(*names, name, *others, "") == f"{name} is empty; give it a value, or leave it out"
            told += 1
    assert told > 60


def test_the_end_is_code_2_and_the_sentence_alone(call) -> None:
    done = call("create", "demo", "--seeds", "x")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --seeds: must be a whole number, not 'x'\n"
