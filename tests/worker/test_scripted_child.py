"""The scripted child shares the steps of a tree as the real one does."""

import json
from pathlib import Path

import pytest
from support.child import STEPS, Script, Tree, fraction, undisturbed_in_tree, value

from cifarsweep.checkpoints.location import branches_of
from cifarsweep.spec.settings import Schedule, Settings
from cifarsweep.training.events import BranchSaved, Event, Finished, Metrics, Rejected, Saved, Started
from cifarsweep.worker.child.protocol import BranchFile, Train

TRUNK = Settings(epochs=3, batch_size=100)
BRANCH = TRUNK.model_copy(update={"schedule": Schedule(phases=("1-2 x5",))})
SHARED = 10  # steps of the first epoch


def train(script: Script, folder: Path, settings: Settings = TRUNK, **options) -> list[Event]:
    flat = json.loads(settings.model_dump_json())
    request = Train("demo/0", flat, 0, str(folder), save_every_s=0.0, **{"resume": (), **options})
    return list(script.train(request, lambda: False))


def accuracies(events: list[Event]) -> dict[int, float]:
    rows = [row for event in events if isinstance(event, Metrics) for row in event.rows]
    assert len({row.step for row in rows}) == len(rows)
    return {row.step: row.value for row in rows}


def branched(tree: Tree, folder: Path) -> BranchFile:
    """The checkpoint that a trunk leaves at the last step that both share."""
    events = train(tree, folder, branch_steps=(SHARED,))
    at = next(number for number, event in enumerate(events) if isinstance(event, BranchSaved))
    assert max(accuracies(events[:at])) == SHARED - 1
    return BranchFile(branches_of(str(folder)), events[at].checkpoint)


def test_a_branch_goes_on_from_the_checkpoint_of_its_trunk_and_reports_what_follows(tmp_path):
    tree = Tree(tmp_path)
    branch = branched(tree, tmp_path / "0")

    events = train(tree, tmp_path / "1", BRANCH, branch=branch)

    assert events[0] == Started(SHARED, 30, 10, 20, 1000, 100, branch_step=SHARED)
    alone = {step: fraction(chain) for step, chain in undisturbed_in_tree(BRANCH, 0, tree.images)}
    assert accuracies(events) == {step: alone[step] for step in range(SHARED, 31)}
    assert alone[SHARED] == accuracies(train(tree, tmp_path / "2"))[SHARED]


def test_its_own_checkpoint_comes_first_and_a_lost_branch_is_no_harm(tmp_path):
    tree = Tree(tmp_path)
    branch = branched(tree, tmp_path / "0")
    own = [event.checkpoint for event in train(tree, tmp_path / "1", BRANCH) if isinstance(event, Saved)]

    resumed = train(tree, tmp_path / "1", BRANCH, branch=branch, resume=own[-1:])
    Path(branch.checkpoint.path).unlink()
    lost = train(tree, tmp_path / "2", BRANCH, branch=branch)

    assert (resumed[0].start_step, resumed[0].branch_step) == (30, None)
    assert [type(event) for event in lost[:2]] == [Rejected, Started]
    assert (lost[1].start_step, lost[1].branch_step) == (0, None)


@pytest.mark.parametrize("save_every", [2, 5])
def test_other_scripts_are_what_they_were(tmp_path, save_every):
    events = train(Script(tmp_path, save_every=save_every), tmp_path / "0")

    assert accuracies(events) == {step: value(0, step) for step in range(1, STEPS + 1)}
    assert isinstance(events[-1], Finished)
