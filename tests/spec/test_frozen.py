"""What records leave out, so that digests of earlier versions hold."""

import hashlib
from typing import ClassVar

from cifarsweep.spec.frozen import EVERY_FIELD, Frozen
from cifarsweep.spec.hypothesis import AtChance
from cifarsweep.spec.moments import At
from cifarsweep.spec.settings import ConvNet, Normalize, ResNet, ResNet9, Settings, Timm, ViT


class Inner(Frozen):
    later: ClassVar[frozenset[str]] = frozenset({"new"})

    old: int = 1
    new: int = 2


class Outer(Frozen):
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()


def test_a_later_field_is_left_out_where_it_has_its_default() -> None:
    record = Outer(several=(Inner(new=3),))

    assert record.model_dump_json() == '{"inner":{"old":1},"several":[{"old":1,"new":3}]}'
    assert record.model_dump() == {"inner": {"old": 1}, "several": ({"old": 1, "new": 3},)}


def test_a_record_that_lacks_a_later_field_reads_as_its_default() -> None:
    record = Outer(inner=Inner(old=5))

    assert Outer.model_validate_json(record.model_dump_json()) == record


def test_every_field_is_there_when_asked_for() -> None:
    assert Outer().model_dump(context=EVERY_FIELD)["inner"] == {"old": 1, "new": 2}


def test_a_later_table_is_left_out_where_all_of_it_has_its_default() -> None:
    halves = Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    assert "normalize" not in Settings(epochs=1).model_dump_json()
    assert Settings.model_validate_json(Settings(epochs=1, normalize=halves).model_dump_json()).normalize == halves


def test_settings_keep_the_digest_that_the_first_version_gave_them() -> None:
    """A database names cells by it."""
    text = Settings(epochs=1).model_dump_json()

    assert (
        hashlib.sha256(text.encode()).hexdigest() == "3b50a8b60041d5ef87b4cd55dad1e5917161ca8c02a9d67e056bb8ea135c0106"
    )


def test_a_hypothesis_about_the_end_has_the_text_that_the_first_version_gave_it() -> None:
    end = AtChance(kind="at_chance", claim="c", a="x")

    assert end.model_dump_json() == '{"claim":"c","metric":"val/accuracy","kind":"at_chance","a":"x","margin":0.02}'
    assert '"at":{"epoch":1.0}' in end.model_copy(update={"at": At(epoch=1)}).model_dump_json()


def test_no_later_setting_has_the_name_of_one_that_another_network_had_before() -> None:
    """A study that varies the older one would hold the later one, with its default, among the levels of its cells."""
    families = (ConvNet, ResNet, ResNet9, Timm, ViT)
    before = {name for family in families for name in set(family.model_fields) - family.later}

    assert all(before.isdisjoint(family.later) for family in families)
