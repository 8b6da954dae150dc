"""`--notify` on the command line: a launcher passes it on to real workers, out of sight of other users."""

from support.listener import SECRET, listening


def test_workers_of_a_launcher_tell_the_end_of_a_study(cli, call, tmp_path):
    """Given a study, when a launcher with an address trains it, then the address hears of it and no log has it."""
    assert call("create", "demo", "--seeds", "1", "--set", "epochs=1").returncode == 0

    with listening() as listener:
        done = cli("launch", "--cpus", "1", "--notify", listener.url)

    assert done.returncode == 0, done.stdout + done.stderr
    (event,) = listener.events()
    assert (event["event"], event["study"], event["trials"]["done"]) == ("study-done", "demo", 4)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert SECRET not in done.stdout + done.stderr and not any(SECRET.encode() in contents for contents in written)


def test_what_is_no_target_is_refused_before_anything_starts(call):
    for command in (["worker", "--cpu"], ["launch", "--cpus", "1"]):
        assert call("create", "demo").returncode == 0
        done = call(*command, "--notify", f"ftp://{SECRET}")

        assert done.returncode == 2 and "--notify: an address is https://HOST" in done.stderr
        assert SECRET not in done.stderr


def test_pods_read_their_targets_from_the_secret(call):
    done = call("launch", "--kubernetes", "--image", "i", "--claim", "c", "--notify", "https://h.example/x")

    assert done.returncode == 2 and "CIFARSWEEP_NOTIFY" in done.stderr
