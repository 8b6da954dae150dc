"""Data sets: list, download, import, load, split and augment them."""
