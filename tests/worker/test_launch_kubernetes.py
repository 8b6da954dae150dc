"""The Job of Kubernetes: valid in its published schemas, and what these can't say: names, exit codes, arguments."""

import json
import re
import string

import hypothesis.strategies as some
import kubernetes_validate
import pytest
import yaml
from hypothesis import given

from cifarsweep.errors import CifarsweepError, SpecError, StoreUnavailable
from cifarsweep.worker import supervisor
from cifarsweep.worker.launch import local
from cifarsweep.worker.launch.kubernetes import GRACE_S, WorkerJob, job_name, own_arguments

#: The oldest Kubernetes that counts crashes per index, the one in which that was no longer a beta, and the newest here.
VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())
EVERYTHING = {
    "workers": 16,
    "gpus": 4,
    "cpus": 8,
    "memory": "64Gi",
    "namespace": "research",
    "secret": "db.results",
    "claim": "data",
}


def job(**more) -> WorkerJob:
    return WorkerJob(**{"name": "cifarsweep", "image": "registry.example:5000/me/cifarsweep:1", "arguments": ()} | more)


def pod(**more) -> dict:
    return job(**more).manifest()["spec"]["template"]["spec"]


def container(**more) -> dict:
    return pod(**more)["containers"][0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("given_too", [{}, {"gpus": 0}, EVERYTHING], ids=["least", "processor", "everything"])
def test_the_job_is_valid_in_the_published_schema(version, given_too):
    text = json.dumps(job(**given_too).manifest(), indent=2)

    read = yaml.safe_load(text)

    assert read == json.loads(text)
    kubernetes_validate.validate(read, version, strict=True)


def test_the_schema_would_find_a_field_that_there_is_not():
    manifest = job().manifest()
    manifest["spec"]["backoffLimitPerPod"] = 8

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def what_happens(code: int, *, drained: bool = False) -> str:
    """What Kubernetes does with a pod that fails: by the first rule that fits, and a crash where none does."""
    for rule in job().manifest()["spec"]["podFailurePolicy"]["rules"]:
        by_code = code in rule.get("onExitCodes", {}).get("values", ())
        if by_code or (drained and rule.get("onPodConditions") == [{"type": "DisruptionTarget", "status": "True"}]):
            return rule["action"]
    return "Count"


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (CifarsweepError.exit_code, "FailIndex"),
        (supervisor.EXIT_FAULTY_HOST, "FailIndex"),
        (supervisor.EXIT_TEMPFAIL, "Ignore"),
        (StoreUnavailable.exit_code, "Ignore"),
        (143, "Ignore"),
        (1, "Count"),
        (137, "Count"),
    ],
)
def test_each_exit_code_has_the_consequence_that_it_has_under_launch(code, action):
    assert what_happens(code) == action
    assert what_happens(code, drained=True) == "Ignore"
    assert (action == "FailIndex") <= (code in local._NO_RESTART_CODES)


def test_rules_need_what_kubernetes_asks_beside_them():
    spec = job(workers=3).manifest()["spec"]

    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"] == 3
    assert spec["podReplacementPolicy"] == "Failed" and spec["template"]["spec"]["restartPolicy"] == "Never"
    assert all(0 not in rule.get("onExitCodes", {}).get("values", ()) for rule in spec["podFailurePolicy"]["rules"])


def test_workers_have_the_time_that_they_take_to_stop():
    assert pod()["terminationGracePeriodSeconds"] == GRACE_S > max(local._GRACE_S, supervisor._GRACE_S) + 30


def test_the_database_is_known_by_the_name_of_a_secret_alone(monkeypatch):
    monkeypatch.setenv("CIFARSWEEP_DB", "postgresql://me:hidden@db.example/x")

    text = json.dumps(job(secret="results").manifest())

    (variable,) = container(secret="results")["env"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "results", "key": "CIFARSWEEP_DB"}}
    assert "hidden" not in text and "db.example" not in text


@pytest.mark.parametrize(
    ("gpus", "each", "command"),
    [
        (0, 1, ["worker", "--cpu"]),
        (1, 1, ["worker", "--gpu=0"]),
        (4, 1, ["launch", "--gpus=all", "--logs=/tmp/logs"]),
        (4, 2, ["launch", "--gpus=all", "--gpus-per-trial=2", "--logs=/tmp/logs"]),
    ],
)
def test_a_pod_asks_for_its_gpus_and_trains_on_all_of_them(gpus, each, command):
    there = container(gpus=gpus, gpus_per_trial=each, arguments=("--slots=2",))

    assert there["args"] == [*command, "--slots=2"]
    assert there["resources"].get("limits", {}).get("nvidia.com/gpu") == (str(gpus) if gpus else None)


def test_shared_memory_is_memory_and_a_claim_has_data_sets():
    its = pod(claim="data")

    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in its["containers"][0]["volumeMounts"]
    assert its["volumes"][0]["emptyDir"]["medium"] == "Memory"
    assert its["volumes"][1]["persistentVolumeClaim"] == {"claimName": "data"}
    assert {"name": "CIFARSWEEP_DATA", "value": "/var/lib/cifarsweep/data"} in its["containers"][0]["env"]


def test_no_pod_is_root_or_may_become_it():
    its = pod()

    assert its["securityContext"]["runAsNonRoot"] and its["securityContext"]["runAsUser"] != 0
    assert its["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def expanded(argument: str, variables: dict[str, str]) -> str:
    """What Kubernetes makes of an argument (EnvVar in its reference): $(NAME) is a value, and $$ one sign."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", value, argument)


@given(some.text("$()HOME a", max_size=20))
def test_arguments_reach_the_worker_as_they_are(argument):
    (written,) = container(arguments=(argument,))["args"][2:]

    assert expanded(written, {"HOME": "/root"}) == argument


@given(some.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True), some.sampled_from([1, 100_000]))
def test_every_study_gives_a_job_a_name(study, workers):
    manifest = job(name=job_name([study]), workers=workers).manifest()

    # The host of a pod is called by its Job and its number.
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", f"{manifest['metadata']['name']}-{workers - 1}")
    assert len(f"{manifest['metadata']['name']}-{workers - 1}") <= 63


def test_studies_that_look_alike_have_jobs_of_different_names():
    names = [job_name([study]) for study in ("lr-study", "LR-study", "lr.study", "lr_study", "lr-" + "s" * 60)]

    assert names[0] == "cifarsweep-lr-study" and len(set(names)) == len(names)
    assert job_name([]) == job_name(["a", "b"]) == "cifarsweep"


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("name", "Upper", "--name"),
        ("name", "-a", "--name"),
        ("name", "a" * 62, "--name"),
        ("name", "a\n", "--name"),
        ("namespace", "a.b", "--namespace"),
        ("namespace", "", "--namespace"),
        ("secret", "a_b", "--secret"),
        ("claim", "a/b", "--claim"),
        ("image", "", "--image"),
        ("image", "-v", "--image"),
        ("image", "a b", "--image"),
        ("memory", "32 GB", "--mem"),
        ("memory", "0", "--mem"),
        ("memory", "32MB", "--mem"),
        ("memory", "32", "--mem"),
    ],
)
def test_what_no_cluster_takes_is_one_sentence(field, value, option):
    with pytest.raises(SpecError, match=option):
        job(**{field: value})


def test_code_and_programs_are_named_as_the_image_has_them():
    assert own_arguments(["/app/code", "my_package.nets"], ["/app/study.toml"]) == [
        "--code=/app/code",
        "--code=my_package.nets",
        "--program=/app/study.toml",
    ]
    for code, programs in ((["./code"], []), (["code/"], []), ([], ["study.toml"])):
        with pytest.raises(SpecError, match="a pod has the files of its image alone"):
            own_arguments(code, programs)


@given(some.text(string.printable, max_size=12))
def test_whatever_memory_is_taken_is_a_size_in_kubernetes(text):
    try:
        memory = container(memory=text or None)["resources"]["requests"]["memory"]
    except SpecError:
        return
    # Quantity in the reference of its API, without signs and exponents.
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])?", memory)
