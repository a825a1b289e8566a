"""Architectures: one family a file, and the catalog of their members."""

from interp.architectures.catalog import build, catalog, describe, register
from interp.architectures.entry import Entry

__all__ = ["Entry", "build", "catalog", "describe", "register"]
