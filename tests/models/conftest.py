import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny batches are slower on more threads, most of all where other tests run beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
