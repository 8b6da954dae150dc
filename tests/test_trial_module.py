"""What a script of the user's own calls: by hand, under a worker, and in several processes."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.program_child import run_program, write_program

import cifarsweep
from cifarsweep import trial as module_or_function
from cifarsweep.spec.reader import read_study
from cifarsweep.training import events

SOURCE = Path(sys.modules["cifarsweep.trial"].__file__)


def by_hand(folder: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as its author does, without a worker."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )


SCRIPT = """
import cifarsweep
trial = cifarsweep.trial(lr=0.1, name="net", seed=5)
print(trial.params, trial.seed, trial.resume, trial.should_stop())
trial.log(3, {"val/accuracy": 0.25, "val/loss": 2})
with trial.checkpoint(3) as path:
    path.write_text("3")
"""


def test_it_is_small_and_needs_the_standard_library_alone():
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SOURCE.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }

    assert imported <= set(sys.stdlib_module_names)
    assert len(SOURCE.read_text().splitlines()) < 200


def test_the_package_gives_the_function_and_stays_light():
    code = """
import sys, cifarsweep, cifarsweep.trial
assert callable(cifarsweep.trial)
assert not {"torch", "numpy", "pydantic", "sqlalchemy", "typer"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert cifarsweep.trial is module_or_function


def test_by_hand_a_script_takes_its_defaults_prints_and_keeps_checkpoints(tmp_path):
    printed = by_hand(tmp_path, SCRIPT).stdout.splitlines()

    assert printed == ["{'lr': 0.1, 'name': 'net'} 5 None False", "step 3  val/accuracy 0.25  val/loss 2"]
    assert (tmp_path / "checkpoints" / "step-3").read_text() == "3"


def test_a_worker_replaces_defaults(tmp_path):
    told = run_program(write_program(tmp_path, SCRIPT.replace("trial.log", "assert trial.seed == 3\ntrial.log")))

    assert told.rows == [("val/accuracy", 3, 0.25), ("val/loss", 3, 2.0)]
    assert told.checkpoints[0].step == 3


def test_of_several_processes_the_first_one_reports(tmp_path):
    assert by_hand(tmp_path, SCRIPT, RANK="1").stdout.count("\n") == 1
    assert not (tmp_path / "checkpoints" / "step-3").exists()

    script = """
import os, subprocess, sys
import cifarsweep
if "RANK" not in os.environ:
    for rank in "10":  # without the worker's descriptor, as `close_fds` is the default
        subprocess.run([sys.executable, __file__], env={**os.environ, "RANK": rank}, check=True)
else:
    trial = cifarsweep.trial()
    trial.log(1, {"val/accuracy": float(os.environ["RANK"])})
    with trial.checkpoint(1) as path:
        path.write_text(os.environ["RANK"])
"""
    told = run_program(write_program(tmp_path, script))

    assert told.rows == [("val/accuracy", 1, 0.0)] and len(told.checkpoints) == 1


def test_a_descriptor_that_means_another_file_is_not_written_to(tmp_path):
    """Its number may be taken by something else in a process that did not inherit it."""
    script = """
import json, os, subprocess, sys
import cifarsweep
if len(sys.argv) == 1:
    code = "import os, sys; os.dup2(os.open('mine', os.O_WRONLY | os.O_CREAT), int(sys.argv[1])); sys.argv[1:] = ['x'];"
    fd = json.loads(os.environ["CIFARSWEEP_TRIAL"])["fd"]
    subprocess.run([sys.executable, "-c", code + "exec(open('train.py').read())", str(fd)], check=True)
else:
    cifarsweep.trial().log(1, {"val/accuracy": 1})
"""
    told = run_program(write_program(tmp_path, script))

    assert told.rows == [("val/accuracy", 1, 1.0)]
    assert (tmp_path / "mine").read_text() == ""


def test_a_slow_store_does_not_let_checkpoints_pile_up(tmp_path):
    script = """
import cifarsweep
trial = cifarsweep.trial()
for step in range(1, 30):
    with trial.checkpoint(step) as path:
        path.write_text("x")
        assert len(list(path.parent.iterdir())) <= 2
trial.log(30, {"val/accuracy": 1})
"""
    assert len(run_program(write_program(tmp_path, script)).checkpoints) == 29


SHELL = r"""
# `told NAME` gives a value of the worker's variable, a parameter or a part of `resume`.
told() { printf '%s' "$CIFARSWEEP_TRIAL" | sed -n "s/.*\"$1\": \"\{0,1\}\([^\",}]*\).*/\1/p"; }
say() { printf '%s\n' "$1" >"/proc/$(told pid)/fd/$(told fd)"; }
step=$(told step)
say '{"hello": 1}'
while [ "${step:=0}" -lt 4 ]; do
    step=$((step + 1))
    say "{\"log\": {\"step\": $step, \"metrics\": {\"val/accuracy\": 0.$step}}}"
    [ $step = 2 ] || continue
    echo "$(told width)" >"$(told folder)/saved"
    say "{\"checkpoint\": {\"step\": $step, \"path\": \"$(told folder)/saved\"}}"
    while [ ! -e "$(told stop)" ] && [ -n "$WAITS" ]; do sleep 0.01; done
    [ -z "$WAITS" ] || exit 0
done
"""


def test_a_shell_script_speaks_the_protocol(tmp_path, monkeypatch):
    file = write_program(tmp_path, SHELL, name="train.sh", command='["sh", "train.sh", "{seed}"]')

    monkeypatch.setenv("WAITS", "yes")
    stopped = run_program(file, stop=lambda told: bool(told.checkpoints))
    monkeypatch.delenv("WAITS")
    ended = run_program(file, resume=stopped.checkpoints)

    assert stopped.end == events.Stopped(2)
    assert stopped.rows + ended.rows == [("val/accuracy", step, step / 10) for step in (1, 2, 3, 4)]
    assert isinstance(ended.end, events.Finished)


TORCHRUN = """
import os
import torch, torch.distributed as dist
import cifarsweep
assert os.environ["MASTER_ADDR"] == "127.0.0.1"
os.environ["GLOO_SOCKET_IFNAME"] = "lo"
trial = cifarsweep.trial()
dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
with torch.no_grad():
    for weights in model.parameters():
        weights.fill_(0.5)
optimizer = torch.optim.SGD(model.parameters(), trial.params["lr"])
for step in range(1, 4):
    loss = model(torch.full((2, 4), float(dist.get_rank() + 1))).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    total = loss.detach().clone()
    dist.all_reduce(total)
    trial.log(step, {"val/loss": total / 2})
    with trial.checkpoint(step) as path:
        torch.save(model.state_dict(), path)
dist.destroy_process_group()
"""


def test_the_files_of_the_guide_are_valid(tmp_path):
    guide = (Path(__file__).parents[1] / "docs/how-to/own-script.md").read_text()
    study, read = re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)
    (tmp_path / "mynet").mkdir()
    for name in ("train.py", "mynet/net.py"):
        (tmp_path / name).touch()
    (tmp_path / "my-rates.toml").write_text(study + read)

    program = read_study(tmp_path / "my-rates.toml").program

    assert program is not None and [file.path for file in program.files] == ["mynet/net.py", "train.py"]
    assert set(program.read) == {"val/accuracy", "train/loss"}


@pytest.mark.long
def test_torchrun_trains_data_parallel(tmp_path):
    # All within this machine: a host's own name may lead nowhere for a moment.
    torchrun = f'"{sys.executable}", "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"'
    words = f'[{torchrun}, "--nproc-per-node=2", "train.py"]'
    file = write_program(tmp_path, TORCHRUN, command=words, more='metric = "val/loss"\ngpus = 2')

    told = run_program(file)

    assert told.result.step == 3
    # Ranks see inputs of 1 and 2: the mean of both gradients is 1.5 for each of four weights, and 1 for the bias.
    losses, weight, bias = [], 0.5, 0.5
    for _ in range(3):
        losses.append((4 * weight + 8 * weight) / 2 + bias)
        weight, bias = weight - 0.5 * 1.5, bias - 0.5
    assert [value for _, _, value in told.rows] == pytest.approx(losses)
    assert [each.step for each in told.checkpoints] == [3, 2, 1]
