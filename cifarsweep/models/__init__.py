"""Networks by name, and what they cost."""

from cifarsweep.models.registry import Cost, build, cost, counted_cost, smallest_batch

__all__ = ["Cost", "build", "cost", "counted_cost", "smallest_batch"]
