import os
import subprocess
import sys

PREPARE = """
import os, sys
import cifarsweep.training.events, cifarsweep.checkpoints.folder
from cifarsweep.training.process import prepare_process

prepare_process()
print(os.environ["CUBLAS_WORKSPACE_CONFIG"], "torch" in sys.modules)
"""


def prepared(**environment):
    clean = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    command = [sys.executable, "-c", PREPARE]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_process_is_prepared_before_torch_is_there():
    assert prepared() == [":4096:8", "False"]


def test_what_the_user_chose_for_cublas_stays():
    assert prepared(CUBLAS_WORKSPACE_CONFIG=":16:8") == [":16:8", "False"]
