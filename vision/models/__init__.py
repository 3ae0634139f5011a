"""Convolutional networks by name; see `create`."""

from .catalog import CATALOG, Network, create

__all__ = ["CATALOG", "Network", "create"]
