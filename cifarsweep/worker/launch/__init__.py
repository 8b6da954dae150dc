"""Starts workers: on this machine, or as Slurm jobs."""
