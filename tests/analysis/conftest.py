"""Studies to analyse."""

from support.studies import make, mixed, tried

__all__ = ["make", "mixed", "tried"]
