"""Networks by name, and what they cost."""

from cifarsweep.models.cost import Cost, cost
from cifarsweep.models.registry import build, smallest_batch

__all__ = ["Cost", "build", "cost", "smallest_batch"]
