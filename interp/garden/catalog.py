"""The whole catalog: the families of `interp.architectures`, and what an analysis brings (Transformer Programs)."""

from interp.architectures.catalog import build, catalog, describe, full_name
from interp.programs import entry  # noqa: F401 (importing it registers it)

__all__ = ["build", "catalog", "describe", "full_name"]
