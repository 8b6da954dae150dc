"""Whose images a study trains on: decided by its first claim, in the database."""

import json
from functools import partial

import pytest
from scenes import at_once, contents, expire, lose_one_commit, make_study, result, rows_at, saved_at
from sqlalchemy import update

from cifarsweep.errors import StudyRefused
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import CheckpointRef, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import ClaimRequest, Environment, Lease, WorkerInfo
from cifarsweep.store.schema import attempt, worker

A, B = "a" * 64, "b" * 64


def images(sha256: str, *, other_data: bool = False, **others: str) -> Environment:
    return Environment({"digits": sha256, **others}, other_data=other_data)


def take(store: Store, sha256: str, worker_id: str = "w", *, other_data: bool = False) -> Lease:
    lease = store.queue.claim(worker_id, environment=images(sha256, other_data=other_data))
    assert lease is not None
    return lease


def finish(store: Store, lease: Lease, want: ClaimRequest | None = None) -> Lease | None:
    return store.queue.finish(lease, rows_at(1), None, result(1), want)


def states(store: Store) -> list[TrialState]:
    return [trial.state for trial in store.trials.all("s")]


def test_the_first_claim_decides_and_others_are_refused_with_both_digests(busy_store: Store) -> None:
    lease = take(busy_store, A)
    before = contents(busy_store)

    for _ in range(2):
        with pytest.raises(StudyRefused, match=f"study 's' .*'digits'.*{A}.*{B}.*--other-data") as refused:
            take(busy_store, B)

    assert refused.value.study == "s" and refused.value.exit_code == 2
    assert contents(busy_store) == before
    assert lease.data_sha256 == A and take(busy_store, A).data_sha256 == A


def test_a_worker_that_looks_hears_the_same_before_it_claims(busy_store: Store) -> None:
    assert busy_store.queue.refused({"s": {"digits": B}}) == {}
    take(busy_store, A)

    assert (
        busy_store.queue.refused({"s": {"digits": A}})
        == busy_store.queue.refused({"s": {}})
        == busy_store.queue.refused({})
        == {}
    )
    assert B in str(busy_store.queue.refused({"s": {"digits": B}})["s"])


def test_of_two_that_claim_first_at_once_one_decides(url: str) -> None:
    def claim(sha256: str) -> str | None:
        with Store.open(url) as mine:
            try:
                return take(mine, sha256, sha256).data_sha256
            except StudyRefused:
                return None

    with Store.open(url) as store:
        store.studies.create(make_study())
        found = at_once(*(partial(claim, each) for each in (A, B, A, B)))
        digests = {each.versions["data digits"] for trial in store.trials.all("s") for each in trial.attempts}

    assert len(digests) == 1
    assert sorted(map(str, found)) == sorted([*digests, *digests, "None", "None"])


@pytest.mark.parametrize("saved", [None, saved_at(0)])
def test_images_that_nothing_rests_on_decide_nothing(busy_store: Store, saved: CheckpointRef | None) -> None:
    lease = take(busy_store, A)
    busy_store.queue.release(lease, rows_at(1), saved)

    assert busy_store.queue.refused({"s": {"digits": B}}) == {}
    assert take(busy_store, B).number == lease.number
    with pytest.raises(StudyRefused, match=f"{B}.*{A}"):
        take(busy_store, A)


def release_a_checkpoint(store: Store, lease: Lease) -> None:
    store.queue.release(lease, rows_at(1), saved_at(1))


def vanish(store: Store, lease: Lease) -> None:
    store.queue.write(lease, rows_at(1), saved_at(1))
    expire(store, lease)


@pytest.mark.parametrize("leave", [finish, release_a_checkpoint, vanish, lambda store, lease: None])
def test_a_result_a_checkpoint_and_a_lease_rest_on_their_images(busy_store: Store, leave) -> None:
    leave(busy_store, take(busy_store, A))

    with pytest.raises(StudyRefused):
        take(busy_store, B)

    assert "s" in busy_store.queue.refused({"s": {"digits": B}})
    take(busy_store, A)


def test_several_that_come_to_images_that_nothing_rests_on_agree_without_a_deadlock(url: str) -> None:
    def claim(sha256: str) -> str | None:
        with Store.open(url) as mine:
            try:
                return take(mine, sha256, sha256).data_sha256
            except StudyRefused:
                return None

    with Store.open(url) as store:
        store.studies.create(make_study())
        store.queue.release(take(store, "c" * 64), [], None)
        found = at_once(*(partial(claim, each) for each in (A, A, B, B)))

    assert sorted(map(str, found)) in (sorted([A, A, "None", "None"]), sorted([B, B, "None", "None"]))


def test_a_worker_that_is_told_to_may_mix_images(busy_store: Store) -> None:
    finish(busy_store, take(busy_store, A))

    finish(busy_store, take(busy_store, B, other_data=True))

    first, second, *_ = busy_store.trials.all("s")
    assert [each.attempts[-1].versions["data digits"] for each in (first, second)] == [A, B]
    with pytest.raises(StudyRefused):
        take(busy_store, B)


def test_a_study_that_is_told_to_may_mix_images(busy_store: Store) -> None:
    finish(busy_store, take(busy_store, A))
    assert busy_store.studies.create(make_study(), other_data=True).added == 0

    assert busy_store.queue.refused({"s": {"digits": B}}) == {}
    assert take(busy_store, B).data_sha256 == B
    busy_store.studies.create(make_study())  # who does not say it takes nothing back
    assert take(busy_store, B).data_sha256 == B


def two_data_sets() -> Study:
    study = make_study(2, 1)
    other = study.cells[1].settings.model_copy(update={"dataset": "mine"})
    cells = (study.cells[0], study.cells[1].model_copy(update={"own_settings": other}))
    return study.model_copy(update={"cells": cells})


def test_each_data_set_of_a_study_is_decided_by_itself(store: Store) -> None:
    store.studies.create(two_data_sets())
    first = store.queue.claim("w", environment=images(A, mine=A))
    second = store.queue.claim("w", environment=images(B, mine=B))

    assert first is not None and second is not None and (first.data_sha256, second.data_sha256) == (A, B)
    assert list(store.queue.refused({"s": {"digits": B, "mine": B}})) == ["s"]
    assert store.queue.refused({"s": {"digits": A, "mine": B}}) == {}
    versions = [trial.attempts[0].versions for trial in store.trials.all("s")]
    assert versions == [{"data digits": A}, {"data mine": B}]


def test_a_data_set_that_the_worker_has_not_looked_at_is_left_alone(store: Store) -> None:
    store.studies.create(two_data_sets())
    store.queue.claim("w", environment=images(A))
    before = contents(store)

    with pytest.raises(StudyRefused, match="has not checked its data set 'mine'"):
        store.queue.claim("w", environment=images(A))

    assert contents(store) == before


def test_another_study_is_not_concerned(busy_store: Store) -> None:
    busy_store.studies.create(make_study(name="t"))
    take(busy_store, A)

    lease = busy_store.queue.claim("w", studies=["t"], environment=images(B))

    assert lease is not None and lease.study == "t"


def test_a_trial_that_is_done_stays_done_where_the_next_one_is_refused(busy_store: Store) -> None:
    lease = take(busy_store, A)
    want = ClaimRequest("w", ["s"], 0, images(B))

    assert finish(busy_store, lease, want) is None

    assert states(busy_store) == [TrialState.DONE] + [TrialState.QUEUED] * 5
    assert busy_store.admin.check() == []


def test_a_claim_whose_answer_was_lost_has_its_images(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_one_commit(busy_store, monkeypatch)

    assert take(busy_store, A).data_sha256 == A
    assert states(busy_store).count(TrialState.LEASED) == 1


def test_an_attempt_keeps_what_it_trained_with_when_its_worker_goes_on_with_something_else(busy_store: Store) -> None:
    def register(device: str, torch: str, digits: str) -> None:
        versions = {"torch": torch, "data digits": digits}
        busy_store.queue.register_worker(WorkerInfo("w", "host", 1, device, 1, versions))

    register("CPU", "2", A)
    finish(busy_store, take(busy_store, A))
    old = busy_store.queue.claim("w")  # as by a worker of an earlier version
    register("CPU", "2", B)  # a data set came: that is no other environment
    take(busy_store, A)
    register("GPU", "3", B)  # its child was started again, after an upgrade
    take(busy_store, A)
    busy_store.queue.claim(
        "w", environment=Environment({"digits": A}, "CPU", {"torch": "2"})
    )  # the child of another slot

    found = [(each.device, each.versions) for trial in busy_store.trials.all("s") for each in trial.attempts]
    assert old is not None
    assert found == [
        ("CPU", {"torch": "2", "data digits": A}),
        ("CPU", {"torch": "2", "data digits": B}),  # nobody knows better
        ("CPU", {"torch": "2", "data digits": A}),
        ("GPU", {"torch": "3", "data digits": A}),
        ("CPU", {"torch": "2", "data digits": A}),
    ]


def test_a_worker_whose_row_was_edited_by_hand_registers_all_the_same(busy_store: Store) -> None:
    busy_store.queue.register_worker(WorkerInfo("w", "host", 1, "CPU", 1, {"torch": "2"}))
    take(busy_store, A)
    busy_store._db.write(lambda conn: conn.execute(update(worker).values(versions="no JSON")))

    busy_store.queue.register_worker(WorkerInfo("w", "host", 1, "CPU", 1, {"torch": "3"}))

    assert busy_store.trials.all("s")[0].attempts[0].versions == {"data digits": A}


@pytest.mark.parametrize("versions", ["no JSON", "[1]", json.dumps({"data digits": 1})])
def test_what_was_edited_by_hand_is_no_evidence(busy_store: Store, versions: str) -> None:
    finish(busy_store, take(busy_store, A))
    busy_store._db.write(lambda conn: conn.execute(update(attempt).values(versions=versions)))

    assert take(busy_store, B).data_sha256 == B


def test_attempts_of_earlier_versions_rest_on_what_their_worker_said(busy_store: Store) -> None:
    busy_store.queue.register_worker(WorkerInfo("w", "host", 1, "CPU", 1, {"data digits": A}))
    finish(busy_store, take(busy_store, A))
    busy_store._db.write(lambda conn: conn.execute(update(attempt).values(versions=None, device=None)))

    with pytest.raises(StudyRefused):
        take(busy_store, B)
    busy_store._db.write(lambda conn: conn.execute(worker.delete()))
    take(busy_store, B)


def test_an_attempt_that_began_further_back_says_where(busy_store: Store) -> None:
    busy_store.queue.release(take(busy_store, A), rows_at(1, 4), saved_at(4))
    lease = take(busy_store, A)

    busy_store.queue.rewind(lease, 0)

    assert [each.first_step for each in busy_store.trials.all("s")[0].attempts] == [0, 0]
