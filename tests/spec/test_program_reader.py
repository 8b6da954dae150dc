"""Study files of a user's own program: what they become, and what is said of a bad one."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cifarsweep.errors import SpecError, StudyExists
from cifarsweep.spec.overrides import parse_overrides
from cifarsweep.spec.program import Program, ProgramFile
from cifarsweep.spec.program_reader import changed_files, read_program
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.study_diff import check_extends
from cifarsweep.spec.writer import study_toml
from cifarsweep.store import columns
from cifarsweep.store.study_rows import cell_digest, cell_row

HEAD = 'name = "own"\nquestion = "Which rate?"\nseeds = 2\n'
PROGRAM = """
[program]
command = ["python", "train.py", "--lr", "{lr}", "--opt={optimizer.name}", "--seed", "{seed}"]
files = ["train.py", "net/**/*.py"]
metric = "dev/error"
"""
REST = """
[settings]
width = 64
optimizer.name = "sgd"
[factors]
lr = [0.1, 0.03]
"""
TREND = '[[hypotheses]]\nkind = "trend"\nclaim = "x"\nfactor = "lr"\ndirection = "rising"\n'


@pytest.fixture
def write_program(tmp_path: Path):
    """Write a study file beside a program of three files."""
    (tmp_path / "net" / "deep").mkdir(parents=True)
    (tmp_path / "net" / "__pycache__").mkdir()
    for name in ("train.py", "net/one.py", "net/deep/two.py", "net/__pycache__/one.py", "data.bin"):
        (tmp_path / name).write_text(f"# {name}\n")

    def _write(program: str = PROGRAM, rest: str = REST) -> Path:
        (tmp_path / "own.toml").write_text(HEAD + program + rest)
        return tmp_path / "own.toml"

    return _write


def test_settings_are_parameters_of_any_name_with_every_file_by_its_digest(write_program):
    study = read_study(write_program())

    assert study.program is not None
    assert [file.path for file in study.program.files] == ["net/deep/two.py", "net/one.py", "train.py"]
    assert study.program.files[2].sha256 == hashlib.sha256(b"# train.py\n").hexdigest()
    assert [(cell.name, cell.levels) for cell in study.cells] == [("lr=0.1", {"lr": 0.1}), ("lr=0.03", {"lr": 0.03})]
    assert study.cells[1].parameters == {"width": 64, "optimizer.name": "sgd", "lr": 0.03}
    assert Study.from_canonical(study.canonical()).sha256 == study.sha256
    assert study.final.mean_of == 1


def test_a_hypothesis_that_names_no_metric_is_about_that_of_the_program(write_program):
    named = TREND + 'metric = "bleu"\n'

    study = read_study(write_program(rest=REST + TREND + named))

    assert [one.metric for one in study.hypotheses] == ["dev/error", "bleu"]


def test_arms_and_exclusions_are_read_as_in_every_study(write_program):
    rest = REST + "[[exclude]]\nlr = 0.1\n" + '[[arms]]\nname = "wide"\nset = { width = 512, lr = 1.0 }\n'

    study = read_study(write_program(rest=rest))

    assert [(cell.name, cell.levels) for cell in study.cells] == [
        ("lr=0.03", {"lr": 0.03, "width": 64}),
        ("wide", {"lr": 1.0, "width": 512}),
    ]


def test_a_search_has_points_of_parameters(write_program):
    space = "[search]\nn_trials = 4\n[search.space]\nlr = { low = 1e-4, high = 0.1, log = true }\n"
    space += 'act = { choices = ["relu", "gelu"] }\n'

    study = read_study(write_program(rest=REST.split("[factors]")[0] + space))

    assert study.search is not None and study.search.fixed == {"width": 64, "optimizer.name": "sgd"}
    first = study.cells[0].parameters
    assert first is not None and (first["lr"], first["act"], first["width"]) == (1e-4, "relu", 64)


def test_numbers_may_be_set_and_texts_only_where_the_file_has_them(write_program):
    rest = REST + '[[arms]]\nname = "adam"\nset = { optimizer.name = "adam", lr = 1e-3 }\n'
    path = write_program(rest=rest)

    study = read_study(path, overrides=parse_overrides(["width=8", "optimizer.name=adam"], free=True))

    assert {(cell.parameters or {})["width"] for cell in study.cells} == {8}
    assert {(cell.parameters or {})["optimizer.name"] for cell in study.cells} == {"adam"}
    for text, says in {
        "optimizer.name=rm": "'rm' is no text that .* has for optimizer.name, .* It has: adam, sgd",
        "lr=1": "varies it; change factors",
        "widht=1": "no such parameter. Did you mean 'width'",
        "seed=1": "seed is no parameter",
    }.items():
        with pytest.raises(SpecError, match=says):
            read_study(path, overrides=parse_overrides([text], free=True))


def test_what_a_worker_reads_is_what_the_study_has(write_program):
    path = write_program(rest=REST + '[[arms]]\nname = "adam"\nset = { optimizer.name = "adam", lr = 1.0 }\n')

    here = read_program(path)

    assert here.program == read_study(path).program and here.folder == path.parent
    assert here.values["optimizer.name"] == {"sgd", "adam"} and not here.values["lr"]


@given(st.binary(max_size=50))
def test_any_change_of_a_file_is_another_program(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("program")
    (folder / "train.py").write_bytes(b"first")
    file = HEAD + '[program]\ncommand = ["./train.py"]\nfiles = ["*.py"]\n'
    (folder / "s.toml").write_text(file)
    before = read_program(folder / "s.toml").program

    (folder / "train.py").write_bytes(contents)
    after = read_program(folder / "s.toml").program

    assert (before.sha256 == after.sha256) == (contents == b"first") == (not changed_files(before, after))


def test_extending_says_what_is_another_program_now(write_program):
    path = write_program()
    old = read_study(path)
    (path.parent / "net" / "one.py").write_text("pass")
    (path.parent / "net" / "new.py").write_text("pass")
    (path.parent / "net" / "deep" / "two.py").unlink()

    with pytest.raises(StudyExists) as caught:
        check_extends(old, read_study(write_program(PROGRAM.replace("dev/error", "dev/loss")), seeds=3))

    assert "net/one.py was changed, net/deep/two.py is missing, net/new.py is new, metric was changed" in str(
        caught.value
    )
    check_extends(old, old.model_copy(update={"seeds": (0, 1, 2)}))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (', "--seed", "{seed}"', "", "no word of the command is {seed}: the trials of a cell are all alike, unless the "
         "program reads trial.seed"),
        ('"python"', '"pythn-x"', "the command 'pythn-x' is not found on this machine; a worker's machine needs it"),
        ('"python"', '"./train"', "the command './train' is not found on this machine; a worker's machine needs it"),
        ('"train.py",', '"./data.bin",', "./data.bin is none of the program's files, so that a change of it goes "
         "unnoticed; add it to files"),
        ('"train.py",', '"./train.py",', None),
        ('"python"', '"{optimizer.name}"', None),
    ],
)  # fmt: skip
def test_what_looks_like_a_slip_gets_a_note(write_program, old, new, says):
    notes: list[str] = []

    read_study(write_program(PROGRAM.replace(old, new, 1)), note=notes.append)

    assert notes == ([says] if says else [])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{lr}", "{rate}", "program.command: {rate} is no parameter of the cell 'lr=0.1'"),
        ("{lr}", "{widht}", "Did you mean 'width'?"),
        ("{lr}", "{}", "{} is no parameter"),
        ("{lr}", "{lr", "has a brace alone; write {{ or }} for a brace"),
        ('["train.py", "net/**/*.py"]', "[]", "program: files: must not be empty"),
        ('"net/**/*.py"', '"nett/**/*.py"', "program.files: 'nett/**/*.py': matches no file in"),
        ('"net/**/*.py"', '"net"', "program.files: 'net': matches no file in"),
        ('"net/**/*.py"', '"../*.py"', "'../*.py': is outside of"),
        ('"net/**/*.py"', '"/etc/passwd"', "'/etc/passwd': is outside of"),
        ('"net/**/*.py"', '""', "'': is no path"),
        ('"dev/error"', '""', "program: metric: must not be empty"),
        ('"dev/error"', f'"{"m" * 300}"', "program: metric: is too long (at most 64 characters)"),
        ("metric", "metrics", "program: metrics: unknown key. Did you mean 'metric'?"),
        ("metric", "gpus = 0\nmetric", "program: gpus: must be at least 1"),
        ("metric", "silence_s = -1\nmetric", "program: silence_s: must be greater than 0"),
        ("metric", 'read = { a = { pattern = "(" } }\nmetric', "is no regular expression"),
        ("metric", 'read = { a = { pattern = "x" } }\nmetric', "has no group"),
        ("command = [", "command = [1, ", "must be a text in quotes, not 1"),
        ("[program]\n", "program = 3\n[other]\n", "program: must be a table, not 3"),
        ("width = 64", "width = [64, 32]", "settings.width: must be a finite number"),
        ("width = 64", "width = nan", "settings.width: must be a finite number"),
        ("width = 64", "width = 1979-05-27", "1979-05-27 is a date"),
        ("width = 64", "width = 10000000000000000000", "settings.width: must be a finite number"),
        ("width = 64", 'width = "a\\u0000b"', "settings.width: must be a finite number"),
        ("width = 64", "seed = 64", "seed is no parameter"),
        ("[program]\n", 'code = { files = ["train.py"] }\n[program]\n', "code: a program brings its own code"),
        ("width = 64", '"two words" = 64', "'two words' can't name a parameter"),
        ("width = 64", "lr = 64", "settings.lr: is fixed here and varied under factors"),
        ("[0.1, 0.03]", "0.1", "factors.lr: must be a list of levels"),
        ("[0.1, 0.03]", "[[1], [2]]", "factors.lr: must be a finite number"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_the_key(write_program, old, new, says):
    text = (PROGRAM + REST).replace(old, new)
    with pytest.raises(SpecError) as caught:
        read_study(write_program(text, ""))
    assert says in str(caught.value) and str(caught.value).startswith(str(write_program()))


def test_at_chance_is_refused(write_program):
    chance = '[[hypotheses]]\nkind = "at_chance"\nclaim = "x"\na = { lr = 0.1 }\n'
    with pytest.raises(SpecError, match="hypothesis 1: kind: at_chance needs the classes"):
        read_study(write_program(rest=REST + chance))


def test_links_out_of_the_folder_and_pipes_are_no_files_of_a_program(write_program, tmp_path_factory):
    path = write_program()
    outside = tmp_path_factory.mktemp("elsewhere") / "secret.py"
    outside.write_text("")
    (path.parent / "net" / "link.py").symlink_to(outside)
    with pytest.raises(SpecError, match=r"'net/link.py': leads outside of"):
        read_study(path)
    (path.parent / "net" / "link.py").unlink()
    os.mkfifo(path.parent / "net" / "pipe.py")
    with pytest.raises(SpecError, match=r"'pipe.py': is no regular file"):
        read_study(path)


def test_more_files_than_a_program_has_are_refused(write_program, monkeypatch):
    monkeypatch.setattr("cifarsweep.spec.program_files.MOST_FILES", 2)
    with pytest.raises(SpecError, match=r"matches more than 2 files; name the program's own"):
        read_study(write_program())


def test_a_worker_is_told_of_a_file_without_a_program(write_program):
    with pytest.raises(SpecError, match=r"has no \[program\]"):
        read_program(write_program("", REST))


@pytest.mark.parametrize(
    "rest",
    [
        REST + TREND,
        REST + '[[exclude]]\nlr = 0.1\n[[arms]]\nname = "wide"\nset = { width = 512, lr = 1.0 }\n',
        '[settings]\nlr = 0.1\nwidth = 1\noptimizer.name = "a"\n',
        '[settings]\noptimizer.name = "a"\n[search]\nn_trials = 3\n[search.space]\nlr = { low = 0.1, high = 1.0 }\n',
    ],
)
def test_a_study_written_as_a_file_is_the_same_study(write_program, rest):
    more = "gpus = 2\nsilence_s = 30.0\n[program.read]\nerror = { pattern = 'Err: ([\\d.]+)%', scale = 0.01 }\n"
    path = write_program(PROGRAM + more, rest)
    (path.parent / "net" / "[odd]*.py").write_text("")
    study = read_study(path)

    path.write_text(study_toml(study))

    assert read_study(path).sha256 == study.sha256


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,9}(\.[a-z]{1,3})?", fullmatch=True).filter(lambda name: name != "seed")
texts = st.text(max_size=20).filter(str.isprintable)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(names, texts | numbers | st.booleans(), min_size=1, max_size=5), st.data())
def test_any_parameters_are_the_same_after_a_file_and_after_a_database(tmp_path_factory, parameters, data):
    folder = tmp_path_factory.mktemp("program")
    (folder / "train.py").write_text("")
    varied = data.draw(st.sampled_from(sorted(parameters)))
    cell = Cell(name="base", levels={}, settings=None, parameters=parameters)
    other = Cell(name="other arm", levels={varied: 7}, settings=None, parameters=parameters | {varied: 7})
    cells = (cell.model_copy(update={"levels": {varied: parameters[varied]}, "name": "first arm"}), other)
    program = Program(command=("./train.py",), files=(ProgramFile(path="train.py", sha256="e3b0" + "0" * 60),))
    study = Study(name="own", question="?", seeds=(0,), cells=cells, program=program)

    (folder / "s.toml").write_text(study_toml(study))
    assume(cells[0].parameters != cells[1].parameters)
    read = read_study(folder / "s.toml")

    assert [repr(each.trained_with) for each in read.cells] == [repr(each.trained_with) for each in cells]
    assert columns.settings(cell_row(1, 0, read.cells[0])["settings"]) == cells[0].trained_with
    assert cell_digest(read.cells[0]) == cell_digest(Study.from_canonical(study.canonical()).cells[0])


def test_what_others_reported_has_a_metric_of_any_name(write_program):
    reported = '[[reported]]\ncell = "lr=0.1"\nmetric = "bleu"\nvalue = 31.5\nof = "mean of the last 2"\n'

    assert read_study(write_program(rest=REST + reported)).reported[0].value == 31.5
    with pytest.raises(SpecError, match="reported 1: value: dev/accuracy is at most 1"):
        read_study(write_program(rest=REST + reported.replace("bleu", "dev/accuracy")))


def test_the_study_s_own_file_is_none_of_the_program_and_a_database_gets_a_note(write_program):
    """Given a pattern that takes in everything, when the study gets more seeds, then its program is the same."""
    path = write_program(PROGRAM.replace("net/**/*.py", "**"))
    (path.parent / "results.db").write_text("")
    notes: list[str] = []

    before = read_study(path, note=notes.append)
    path.write_text(path.read_text().replace("seeds = 2", "seeds = 3"))

    assert before.program is not None and "own.toml" not in {file.path for file in before.program.files}
    assert read_study(path).program == before.program
    assert any(note.startswith("results.db is one of the program's files") for note in notes)
