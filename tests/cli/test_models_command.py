"""`models`, and what `create` says of a model that only timm knows."""

import importlib.util

import pytest


def test_models_lists_parameters_and_flops(call):
    done = call("models", "resnet18", "vit")

    assert done.returncode == 0, done.stderr
    assert "11.174 M" in done.stdout and "1.11 G" in done.stdout and "stem = conv" in done.stdout
    assert "resnet50" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["resnet19"], "no model 'resnet19'. Did you mean 'resnet9'?"),
        (["--data", "cifar10", "--classes", "5"], "--classes: those of --data count; give one of the two"),
        (["--data", "nowhere"], "no data set 'nowhere' here"),
        (["timm:a/b"], "models: name: 'timm:a/b' has characters that are not allowed here"),
    ],
)
def test_a_model_that_nobody_knows_is_one_sentence(call, arguments, says):
    done = call("models", *arguments)

    assert done.returncode == 2 and done.stderr.startswith(f"error: {says}")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra and is not installed")
def test_create_refuses_a_model_that_timm_does_not_have(call, tmp_path):
    study = '[settings]\ndataset = "digits"\nepochs = 1\nmodel.name = "timm:resnett18"\n'
    (tmp_path / "typo.toml").write_text(f'name = "typo"\nquestion = "Which?"\n{study}')
    done = call("create", "typo.toml")

    assert done.returncode == 2
    assert "study 'typo', cell 'base': model.name: timm has no model 'timm:resnett18'" in done.stderr
    assert not (tmp_path / "cifarsweep.db").exists()
