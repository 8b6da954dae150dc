"""`create` tells what the seeds can decide, alone and where looks are planned."""

CLAIM = "A rate of 3e-3 trains better than 1e-5"
UNPLANNED = (
    "Looks planned up to 12 seeds (extend --until-decided --max-seeds 12) share the 5 %: that at 3 seeds and 1.25 % "
    "decides 1 point with 52 to 98 % chance, the last at 12 seeds and 2.5 % with > 99 %."
)


def test_what_planned_looks_decide_is_told_beside_what_one_look_does(call):
    created = call("create", "demo").stdout.splitlines()
    call("extend", "demo", "--until-decided", "--max-seeds", "12")
    extended = call("create", "demo", "--seeds", "4", "--extend").stdout.splitlines()

    assert UNPLANNED in created
    assert created[2].startswith("With 3 seeds that vary by 0.3 points (sd)")
    assert created[4].split() == [*CLAIM.split(), "72", "%", ">", "99", "%", ">", "99", "%"]
    assert created[-1].startswith("Each further seed: 4 trials, ") and "0.0 million" not in created[-1]
    assert f"The looks that are planned share the 5 %:{UNPLANNED.partition(':')[2]}" in extended
    assert extended[2].startswith("With 3 seeds that vary")
    assert extended[4].split() == [*CLAIM.split(), "44", "%", "98", "%", ">", "99", "%"]
