import checkpoint_damage


def test_of_500_damaged_checkpoints_none_is_accepted(tmp_path):
    found = checkpoint_damage.campaign(500, seed=1, folder=tmp_path)

    assert found["cases"] == 500
    assert found["accepted"] == found["missed"] == found["wrong"] == 0
    assert found["before"] > 300 and found["start"] > 100


def test_the_campaign_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_damage, "KINDS", (lambda path, chance: None,))

    assert checkpoint_damage.campaign(10, seed=1, folder=tmp_path)["accepted"] == 10
