"""Convolutional networks by name; see `create`."""

from .catalog import CATALOG, create

__all__ = ["CATALOG", "create"]
