"""What is far too large gets a sentence at once, before it fills the memory."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.overrides import DEEPEST, check_depth, parse_overrides
from cifarsweep.spec.reader import read_study

FILE = """
name = "large"
question = "How large?"
[settings]
dataset = "digits"
epochs = 1
"""
#: Address space in which the largest file that is read, and Python itself, have room.
_BYTES = 1 << 30


def test_a_file_of_deep_keys_is_refused_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text("a." * 100_000 + "b = 1")
    program = "import sys; from pathlib import Path; from cifarsweep.spec.reader import read_study as read\n"
    program += "try: read(Path(sys.argv[1]))\nexcept Exception as error: print(type(error).__name__, error)"

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "deep.toml"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("SpecError") and f"more than {DEEPEST} parts" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "text",
    [
        'question = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s"',
        "# a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s",
        "x = '''a.b.c.d.e.f\n.g.h.i.j.k.l.m.n.o.p.q.r.s'''",
        "x = [1.5, 2.5, " + "3.5, " * 100 + "]",
        "x" * 1_000_000,
        '"' * 1_000_000,
        'x = "' + '\\"' * 450_000,
        'x = """' + '\\"' * 450_000 + "\\",
        "a " * 500_000,
    ],
)
def test_dots_in_texts_are_no_depth(text: str) -> None:
    check_depth(text, "file")


@pytest.mark.parametrize("key", ["a." * 20 + "b", " . ".join(["a"] * 20), ".".join(['"a b"'] * 20)])
@pytest.mark.parametrize("shape", ["{} = 1", "[{}]", "[[{}]]", "x = {{ {} = 1 }}"])
def test_a_key_of_many_parts_is_refused_however_it_is_written(key: str, shape: str) -> None:
    with pytest.raises(SpecError, match="more than 16 parts"):
        check_depth(shape.format(key), "file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds = 1000000000", "1,000,000,000 trials or more; a study has at most 100,000"),
        ("seeds = 1" + "0" * 400, "a study has at most 100,000"),
        (FILE + "[factors]\nlog_every = [" + "1," * 400 + "]\neval_every = [" + "1," * 400 + "]", "160,000 trials"),
        (FILE + "batch_size = 1" + "0" * 400, "batch_size"),
        (FILE + "model = { widths = [" + "8," * 100_000 + "] }", "too many entries"),
        (FILE + "[search]\nn_trials = 9\nspace = { batch_size = { low = 1, high = 1" + "0" * 30 + " } }", "batch_size"),
        (
            FILE + "[search]\nn_trials = 9\nspace = { batch_size = { low = 1, high = 1" + "0" * 400 + " } }",
            "at most|finite",
        ),
        (FILE + "[search]\nn_trials = 1000000000\nspace = { batch_size = { low = 1, high = 9 } }", "n_trials"),
        ("x = " + "[" * 100_000, "nests too deeply"),
        ("#" * (1 << 20) + "#", "over 1 MiB"),
    ],
)
def test_what_is_far_too_large_is_refused_with_the_bound(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "large.toml"
    path.write_text(text if text.startswith((FILE, "x", "#")) else text + FILE)

    with pytest.raises(SpecError, match=says) as refused:
        read_study(path)

    assert len(str(refused.value)) < 1500


@pytest.mark.parametrize("text", ['x = "a.b\n{} = 1', 'x = """a""""\n{} = 1', "x = a'\n{} = 1"])
def test_a_text_with_odd_ends_hides_no_key(text: str) -> None:
    with pytest.raises(SpecError, match="more than 16 parts"):
        check_depth(text.format("a." * 20 + "b"), "file")


def test_of_very_many_mistakes_the_first_are_told(tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text("".join(f"k{number} = 1\n" for number in range(5000)) + FILE)

    with pytest.raises(SpecError) as refused:
        read_study(tmp_path / "odd.toml")

    told = str(refused.value).splitlines()
    assert len(told) == 21 and "k0: unknown key" in told[0] and told[-1].endswith("and 4,980 more mistakes")


def test_a_range_without_end_is_counted(tmp_path: Path) -> None:
    space = "space = { 'optimizer.weight_decay' = { low = 0, high = 1" + "0" * 30 + " } }"
    (tmp_path / "wide.toml").write_text(FILE + f"[search]\nn_trials = 9\n{space}")

    study = read_study(tmp_path / "wide.toml")

    assert study.search is not None and (study.search.size, study.search.points) == (10**30 + 1, 9)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["epochs=1", "epochs=2"], "--set 'epochs=2': --set 'epochs=1' sets epochs already"),
        (["epochs=1", "epochs=1"], "already"),
        (["epochs=1", "steps=5"], "sets epochs already"),
        (["model.widths=[8]", "model={widths=[16]}"], "sets model.widths already"),
        (["model={widths=[16]}", "model.widths=[8]"], "sets model.widths already"),
        (["model.widths=[8]", "model=resnet9"], "sets model.widths already"),
    ],
)
def test_what_is_set_twice_is_refused(texts: list[str], says: str) -> None:
    with pytest.raises(SpecError, match=says.replace("[", r"\[")):
        parse_overrides(texts)


def test_settings_of_one_table_are_no_rivals() -> None:
    given = parse_overrides(["model.name=convnet", "model={skip=true}", "model.norm=none", "epochs=2"])

    assert given == {"model.name": "convnet", "model.skip": True, "model.norm": "none", "epochs": 2}
