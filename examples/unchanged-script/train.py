"""A script that nobody wants to change: it draws a progress bar and prints its results in colours."""

import argparse
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
train_images, train_labels, val_images, val_labels = images[:1400], labels[:1400], images[1400:], labels[1400:]

torch.manual_seed(args.seed)
net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[args.optimizer]
optimizer = make(net.parameters(), lr=0.01)
for epoch in range(1, args.epochs + 1):
    batches = torch.randperm(len(train_images)).split(64)
    for number, batch in enumerate(batches, start=1):
        loss = nn.functional.cross_entropy(net(train_images[batch]), train_labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sys.stdout.write(f"\r\033[34m{'#' * (20 * number // len(batches)):20}\033[0m {number}/{len(batches)}")
    accuracy = 100 * (net(val_images).argmax(1) == val_labels).float().mean().item()
    print(f"\r\033[1mEpoch {epoch}/{args.epochs}\033[0m  loss: {loss.item():.4f}  \033[32macc: {accuracy:.2f}%\033[0m")
