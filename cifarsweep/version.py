"""The version, which every room may ask for without importing what the package offers to notebooks."""

__version__ = "0.1.0"
