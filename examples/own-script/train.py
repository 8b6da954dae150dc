"""The same as train_plain.py, and what a study needs: see the lines with `trial`."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

import cifarsweep

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
trial = cifarsweep.trial()

digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
train_images, train_labels, val_images, val_labels = images[:1400], labels[:1400], images[1400:], labels[1400:]

torch.manual_seed(args.seed)
net = nn.Sequential(nn.Linear(64, args.width), nn.ReLU(), nn.Linear(args.width, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
first = 0
if trial.resume:  # interrupted before: go on from there
    first, weights, momentum = torch.load(trial.resume.path, weights_only=True)
    net.load_state_dict(weights)
    optimizer.load_state_dict(momentum)
for epoch in range(first, args.epochs):
    torch.manual_seed(1000 * args.seed + epoch)
    for batch in torch.randperm(len(train_images)).split(64):
        loss = nn.functional.cross_entropy(net(train_images[batch]), train_labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (net(val_images).argmax(1) == val_labels).float().mean().item()
    trial.log(epoch + 1, {"train/loss": loss.item(), "val/accuracy": accuracy})
    with trial.checkpoint(epoch + 1) as path:
        torch.save((epoch + 1, net.state_dict(), optimizer.state_dict()), path)
    if trial.should_stop():
        break
