"""Training on several devices as torch's tutorial writes it.

Source: docs.pytorch.org/tutorials/intermediate/ddp_tutorial.html. A process for each device, `DistributedDataParallel`
around the network of `usual_loop.py`, a DistributedSampler behind its DataLoader, and everything else as there. The
first process prints the number of each step that is done.

    python benchmarks/plain_ddp.py DEVICES SETTINGS ROOT      settings as JSON, data sets in the folder ROOT
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from usual_loop import Pictures, plain_network, plain_step

from cifarsweep.data.dataset import load
from cifarsweep.spec.settings import Settings


def train(rank: int, size: int, settings: Settings, root: Path, meeting_point: str) -> None:
    """Train for ever as one of `size` processes."""
    torch.set_num_threads(settings.threads)
    on_gpu = torch.cuda.is_available()
    device = torch.device(f"cuda:{rank}" if on_gpu else "cpu")
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting_point}", rank=rank, world_size=size)
    images = load(settings.dataset, root)
    network = plain_network(settings.model, len(images.classes)).to(device)
    model = DistributedDataParallel(network, device_ids=[rank] if on_gpu else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    pictures = Pictures(images)
    sampler = DistributedSampler(pictures, size, rank)
    loader = DataLoader(pictures, settings.batch_size // size, sampler=sampler, drop_last=True)
    step = epoch = 0
    while True:
        sampler.set_epoch(epoch)
        for batch, labels in loader:
            plain_step(model, optimizer, batch.to(device), labels.to(device))
            step += 1
            if rank == 0:
                print(step, flush=True)
        epoch += 1


def main() -> None:
    size, settings, root = int(sys.argv[1]), Settings.model_validate_json(sys.argv[2]), Path(sys.argv[3])
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train, (size, settings, root, f"{folder}/meeting"), nprocs=size)


if __name__ == "__main__":
    main()
