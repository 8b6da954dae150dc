"""cifarsweep answers questions about training image classifiers with evidence."""

__version__ = "0.1.0"
