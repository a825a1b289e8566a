"""`Cache`: the activations of one run, by site name, with the proof of what fired."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from interp.hooks.index import Lengths
from interp.hooks.site import Site, full_name
from interp.results.errors import BadFile, MissingSite, nearest
from interp.results.files import write_failed

_SCHEMA = "interp.cache.1"


class Cache(Mapping[str, Tensor]):
    """Site name -> tensor. Also `cache["pattern", 3]` and `cache["scale", 3, "ln1"]`, as in TransformerLens.

    `sites` says what each tensor is, `counts` how often each site fired, `lengths` where the real tokens are.
    """

    def __init__(self, values: dict[str, Tensor], sites: dict[str, Site], counts: dict[str, int], lengths: Lengths):
        self._values, self.sites, self.counts, self.lengths = values, sites, counts, lengths

    def __getitem__(self, key: str | Site | tuple) -> Tensor:
        name = full_name(*key) if isinstance(key, tuple) else str(key)
        if name not in self._values:
            raise MissingSite(
                f"{name!r} is not in this cache of {len(self)} sites." + nearest(name, self._values)
                + " A cache holds what `names` asked for."
            )
        return self._values[name]

    def __contains__(self, key: object) -> bool:
        return (full_name(*key) if isinstance(key, tuple) else str(key)) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        size = sum(v.numel() * v.element_size() for v in self._values.values())
        return f"Cache({len(self)} sites, {size / 1e6:.1f} MB)"

    def to(self, device: torch.device | str) -> "Cache":
        """The same cache with its tensors on `device`."""
        return Cache({k: v.to(device) for k, v in self.items()}, self.sites, self.counts, self.lengths)

    def save(self, path: str | Path) -> None:
        """Write tensors and site facts to one safetensors file, wholly or not at all.

        Raises InterpError where the disk refuses.
        """
        facts = {name: asdict(self.sites[name]) for name in self}
        meta = {"schema": _SCHEMA, "sites": json.dumps(facts), "counts": json.dumps(self.counts)}
        tensors = {name: value.detach().contiguous().clone() for name, value in self.items()}
        tensors |= {"lengths.first": self.lengths.first, "lengths.stop": self.lengths.stop}
        path = Path(path)
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            save_file(tensors, str(draft), metadata=meta)
            os.replace(draft, path)
        except (OSError, SafetensorError) as error:
            # safetensors wraps what the system said
            raise write_failed(path, error if isinstance(error, OSError) else OSError(str(error))) from error
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "Cache":
        """Read a file written by `save`. Raises BadFile for anything else."""
        try:
            with safe_open(str(path), "pt") as file:
                meta = file.metadata() or {}
                if meta.get("schema") != _SCHEMA:
                    raise BadFile(f"{path} is no activation cache of interp (schema {meta.get('schema')!r})")
                values = {name: file.get_tensor(name) for name in file.keys()}
            facts = json.loads(meta["sites"])
            counts = {name: int(count) for name, count in json.loads(meta["counts"]).items()}
            lengths = Lengths(values.pop("lengths.first"), values.pop("lengths.stop"))
            sites = {name: Site(**{**fact, "axes": tuple(fact["axes"])}) for name, fact in facts.items()}
            return cls({name: values[name] for name in facts}, sites, counts, lengths)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BadFile):
                raise
            raise BadFile(f"{path} cannot be read as an activation cache: {error}") from error
