"""Which attempts trained what a trial ended with, and in what they differ."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.spec.provenance import changed, changes, changes_text, contributing, trained_by


@dataclass(frozen=True)
class Attempt:
    first_step: int | None
    device: str = "A100"
    versions: dict[str, str] = field(default_factory=dict)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_the_attempts_that_count_are_those_whose_steps_are_in_the_result(lives: list[tuple[int, int]]) -> None:
    """Each attempt goes on from the newest checkpoint at or before a step, and leaves one some steps later, or none."""
    saved: list[tuple[int, list[int]]] = [(0, [])]  # checkpoints: their step, and who trained them
    first_steps = []
    for number, (back_to, steps) in enumerate(lives):
        saved = [one for one in saved if one[0] <= back_to] or saved[:1]
        first, trainers = saved[-1]
        first_steps.append(first)
        if steps:
            saved.append((first + steps, [*trainers, number]))
    last, trainers = saved[-1] if lives[-1][1] else (saved[-1][0], [*saved[-1][1], len(lives) - 1])

    assert contributing(first_steps) == trainers


def test_an_attempt_whose_beginning_is_unknown_counts() -> None:
    assert contributing([0, None, None]) == [0, 1, 2]
    assert contributing([None, 0]) == [1]
    assert contributing([]) == []


def test_what_changed_is_told_in_the_order_in_which_it_came() -> None:
    attempts = [
        Attempt(0, "A100", {"torch": "2.14", "python": "3.11"}),
        Attempt(40, "H100", {"torch": "2.15", "python": "3.11", "cuda": "13"}),
        Attempt(80, "A100", {"torch": "2.15"}),
    ]

    assert changed(attempts) == {"device": ("A100", "H100"), "torch": ("2.14", "2.15")}
    assert changes_text(changed(attempts)) == "device A100, then H100; torch 2.14, then 2.15"


def test_an_attempt_that_left_nothing_changed_nothing() -> None:
    lost, again = Attempt(0, "A100", {"torch": "2.14"}), Attempt(0, "H100", {"torch": "2.15"})

    assert changed([lost, again]) == {} and trained_by([lost, again]) == (again,)


def test_what_nobody_recorded_is_no_change() -> None:
    assert changes([{}, {"torch": "2.14"}, {"python": "3.11"}]) == changes([]) == {}
    assert changed([Attempt(0, ""), Attempt(4, "A100")]) == {}
