"""The version of package and binary."""

__version__ = "0.1.0"
