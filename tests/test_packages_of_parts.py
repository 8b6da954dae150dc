"""Parts of an installed package: entry points, and the digest of its code."""

import importlib
from pathlib import Path

import pytest
from support.own_code import LAYERS, NETS, write_files

from cifarsweep import own_code
from cifarsweep.errors import CodeUnusable, SpecError
from cifarsweep.models import build
from cifarsweep.spec import packages
from cifarsweep.spec.code import codes_of
from cifarsweep.spec.packages import package_code
from cifarsweep.spec.reader import read_study
from cifarsweep.store.records import StoredStudy
from cifarsweep.worker.code_here import CodeHere, parse_sources

pytestmark = pytest.mark.usefixtures("no_code_stays")

POINTS = "[cifarsweep.models]\nWide = wide_nets.nets:Wide\n[cifarsweep.metrics]\nspread = wide_nets.nets:spread\n"
STUDY = """
name = "packaged"
question = "Does depth help?"
[settings]
dataset = "digits"
epochs = 1
model = { name = "wide-nets:Wide", depth = 2 }
metrics = { own = ["wide-nets:spread"] }
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, with one in it."""
    spread = "\ndef spread(logits, labels):\n    return logits.std()\n"
    nets = NETS.replace("from layers", "from wide_nets.layers") + spread
    write_files(
        tmp_path / "site",
        {
            "wide_nets/__init__.py": "",
            "wide_nets/nets.py": nets,
            "wide_nets/layers.py": LAYERS,
            "wide_nets-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: wide-nets\nVersion: 1.2\n",
            "wide_nets-1.2.dist-info/entry_points.txt": POINTS,
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    importlib.invalidate_caches()
    packages._digest.cache_clear()
    yield tmp_path / "site"
    packages._digest.cache_clear()
    for name in [name for name in importlib.sys.modules if name.split(".")[0] == "wide_nets"]:
        del importlib.sys.modules[name]


@pytest.fixture
def study(site: Path, tmp_path: Path):
    (tmp_path / "packaged.toml").write_text(STUDY)
    return read_study(tmp_path / "packaged.toml")


def changed(site: Path) -> None:
    (site / "wide_nets/layers.py").write_text((site / "wide_nets/layers.py").read_text() + "\n# changed\n")
    packages._digest.cache_clear()


def test_name_version_and_digest_belong_to_the_study(study, site):
    settings = study.cells[0].settings
    assert settings.model.code == settings.metrics.code == package_code("wide-nets")
    assert settings.model.code.startswith("wide-nets 1.2 ") and study.code is None
    changed(site)
    assert package_code("wide-nets") != settings.model.code


def test_a_worker_takes_it_where_it_names_the_package_and_has_the_same(study, site):
    stored = StoredStudy(1, study.name, study.sha256, None, study)
    CodeHere(parse_sources(["wide-nets"])).check(stored)
    with pytest.raises(CodeUnusable, match=r"trains code of the package wide-nets, which a worker must name: --code"):
        CodeHere().check(stored)
    changed(site)
    with pytest.raises(CodeUnusable, match=r"wide-nets 1\.2 \(sha256 .* and here is wide-nets 1\.2"):
        CodeHere(("wide-nets",)).check(stored)


def test_the_child_loads_it_where_its_command_line_names_it(study):
    model = study.cells[0].settings.model
    with pytest.raises(CodeUnusable, match="was not named on the command line: add --code wide-nets"):
        build(model, 10)
    own_code.allow(["wide-nets"])
    assert len(build(model, 10).blocks) == 2
    assert codes_of(study.cells[0].settings) == {model.code}


def test_a_package_without_that_entry_point_is_refused_with_those_it_has(site, tmp_path):
    (tmp_path / "packaged.toml").write_text(STUDY.replace(":Wide", ":Wade"))
    with pytest.raises(SpecError, match=r"no entry point 'Wade' .* Did you mean 'Wide'\? Its entry points there: Wide"):
        read_study(tmp_path / "packaged.toml")
