"""Own images from a folder to a page: import, look, a study that fits and one that can't."""

import json
import re

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    """Three classes of 30 grey pictures of 40x30 pixels, each with a bar of its own."""
    draw = np.random.default_rng(0)
    for kind in range(3):
        (tmp_path / f"photos/kind-{kind}").mkdir(parents=True)
        for number in range(30):
            pixels = draw.integers(0, 90, (30, 40), dtype=np.uint8)
            pixels[5 + 8 * kind : 10 + 8 * kind] = 255
            Image.fromarray(pixels).save(tmp_path / f"photos/kind-{kind}/{number}.png")
    (tmp_path / "photos/README.md").write_text("# Photos")
    return tmp_path / "photos"


OPTIONS = "--size 28 --grey --fit crop --test 0.2 --seed 0 --skip-others"
STUDY = """
name = "rates"
question = "Does a rate of 0.01 train more than one of 0.001?"
seeds = 1
[settings]
dataset = "photos"
epochs = 4
batch_size = 16
model = { widths = [4, 8], convs_per_stage = 1 }
[factors]
"optimizer.lr" = [0.01, 0.001]
"""


def test_from_a_folder_to_a_page(call, tmp_path, photos, monkeypatch, environment):
    monkeypatch.setitem(environment, "CIFARSWEEP_DATA", str(tmp_path / "data"))
    asked = ("data", "import", "photos", "photos", "--size", "28", "--grey", "--fit", "crop", "--test", "0.2")
    assert "README.md' does not fit <class>/<file>; move it" in call(*asked).stderr

    imported, shown = call(*asked, "--skip-others"), call("data", "show", "photos")
    (tmp_path / "rates.toml").write_text(STUDY)
    refused = call("create", "rates.toml", "--set", "model.widths=[4, 4, 4, 4, 4, 4]")
    created = call("create", "rates.toml")

    assert imported.stdout.startswith("photos: 72 train and 18 test images, 28x28 grey, of 3 classes, sha256 ")
    assert imported.stderr.splitlines() == [
        "note: 1 file is no JPEG, PNG or WebP image and left out: 'README.md'",
        "note: all 90 images are not square and cropped, at most by 25 % ('kind-0/0.png' of 40x30)",
    ]
    assert f"\nimported from photos {OPTIONS}; sha256 " in shown.stdout
    assert re.search(r"kind-2 +\W +24 +\W +6", shown.stdout)
    assert refused.returncode == 2 and "model.widths: 6 stages are too many for images of 28x28 grey" in refused.stderr
    listed = call("models", "convnet", "--data", "photos").stdout
    assert "28x28" in listed and "2.354 M" in listed
    assert created.returncode == 0 and "GFLOP" in created.stdout

    assert call("worker", "--cpu").returncode == 0
    trial = json.loads(call("show", "rates/0", "--json").stdout)
    # A convolution of one channel at 28x28, one of 4 at 14x14, and three classes; a multiply-add counts as two.
    forward = 2 * 9 * (28 * 28 * 4 + 14 * 14 * 4 * 8) + 2 * 8 * 3
    assert trial["state"] == "done" and trial["last_metrics"]["flops"] == 3 * forward * 65 * 4
    assert call("report", "rates").returncode == 0
    page = (tmp_path / "reports/rates.html").read_text()
    assert "kind-1" in page and "photos: 28x28 grey, 72 for training and 18 for testing, 3 classes" in page
    # With these options the images of anybody's folder have the digest of the page again.
    assert f"data import photos FOLDER {OPTIONS}\n" in page
