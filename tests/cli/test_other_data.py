"""Images that differ from those of a study's earlier trials, as a user meets them."""

from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.store.records import Environment

A = "a" * 64


def test_a_worker_with_other_images_ends_with_both_digests_unless_it_is_told_to_mix_them(call, cli, tmp_path):
    small = ("create", "demo", "--seeds", "1", "--set", "epochs=1", "--as", "small")
    assert call(*small).returncode == 0
    with Store.open(tmp_path / "cifarsweep.db", timing=Timing(lease_s=3600.0)) as store:
        store.queue.claim("somebody", environment=Environment({"digits": A}))

    refused = cli("worker", "--cpu")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1 and f"'small' trains on images of 'digits' with sha256 {A}" in refused.stderr
    assert "--other-data" in refused.stderr and "Traceback" not in refused.stderr
    assert call(*small, "--other-data").returncode == 0
    assert "small/1" in cli("worker", "--cpu", "--max-trials", "1").stdout
