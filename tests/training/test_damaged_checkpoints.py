import damaged_checkpoint


def test_of_500_damaged_checkpoints_none_is_accepted(tmp_path):
    found = damaged_checkpoint.campaign(500, seed=1, folder=tmp_path)

    assert found["cases"] == 500
    assert found["accepted"] == found["missed"] == found["wrong"] == 0
    assert found["before"] > 300 and found["start"] > 100


def test_the_campaign_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(damaged_checkpoint, "KINDS", (lambda path, chance: None,))

    assert damaged_checkpoint.campaign(10, seed=1, folder=tmp_path)["accepted"] == 10
