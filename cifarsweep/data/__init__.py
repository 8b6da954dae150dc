"""Data sets: what is installed, how it gets here, how it is loaded, split and augmented."""
