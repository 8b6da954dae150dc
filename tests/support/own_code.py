"""Code as a user writes it, and how a test lets this process load it."""

from pathlib import Path
from typing import Any

from cifarsweep import own_code
from cifarsweep.spec.code import read_code
from cifarsweep.spec.settings import OwnModel, Settings

LAYERS = """
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, images):
        return images + self.norm(self.conv(images)).relu()
"""
NETS = """
from torch import nn
from layers import Block

class Wide(nn.Module):
    def __init__(self, classes, channels, depth=1, width=4, dropout=0.2):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(width, classes)

    def forward(self, images):
        return self.head(self.drop(self.blocks(self.stem(images)).mean((2, 3))))
"""
FILES = {"nets.py": NETS, "layers.py": LAYERS}
STUDY = """
name = "mine"
question = "Does depth help?"
seeds = 1
code = { files = ["*.py"] }
[settings]
dataset = "digits"
epochs = 1
batch_size = 64
model = { name = "nets:Wide", width = 4 }
[factors]
"model.depth" = [1, 2]
"""


def write_files(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Write files of code, or the usual ones, and return the folder."""
    for path, text in (FILES if files is None else files).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def write_study(folder: Path, text: str = STUDY) -> Path:
    """Write a study file beside its code, and return its path."""
    write_files(folder)
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


def usable(folder: Path, files: dict[str, str] | None = None) -> str:
    """Write files, allow this process to load them, and return their digest."""
    code = read_code(["**/*.py"], write_files(folder, files), "a test")
    (folder / "named.toml").write_text('[code]\nfiles = ["**/*.py"]\n')
    own_code.allow([str(folder)])
    own_code.know([(file.path, file.sha256) for file in code.files])
    return code.sha256


def model(code: str, name: str = "nets:Wide", **arguments: Any) -> OwnModel:
    return OwnModel.model_validate({"name": name, "code": code, **arguments})


def with_model(settings: Settings, code: str, name: str = "nets:Wide", **arguments: Any) -> Settings:
    return settings.model_copy(update={"model": model(code, name, **arguments)})
