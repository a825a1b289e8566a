"""`SiteMap`: everything the workbench knows about one model beyond its module: sites, equations, roles.

The contract of an architecture is this table plus the laws that `check_model` tests. Analyses read nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from interp.hooks.roles import Norm, Role
from interp.hooks.site import Site, check_style, kind_of
from interp.hooks.tap import Tap
from interp.results.errors import BadInput


@dataclass(frozen=True)
class NormRef:
    """A norm as a term of an equation: its module, what kind it is, and the site of its denominator."""

    path: str
    role: Norm
    scale: str




class Carry(Protocol):
    """A linear map of the stream: (cache, x) -> what is kept of x. `reads` are the sites that it reads in the cache."""

    reads: tuple[str, ...]

    def __call__(self, cache: Mapping[str, Tensor], x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Add:
    """One step of the stream: `to == norm(keep * start + sum(writes))`, every entry a site name.

    `norm` is None in pre-norm blocks; `keep` is 1 unless the block replaces, scales, gates or turns the stream: a
    number, or a linear map with whatever it needs (a gate, an angle) read from the run's cache.
    """

    start: str
    writes: tuple[str, ...]
    to: str
    norm: NormRef | None = None
    keep: float | Carry = 1.0

    def carried(self, cache: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """What this step keeps of `x`, a value (or a term) of its start."""
        return self.keep(cache, x) if callable(self.keep) else x if self.keep == 1.0 else self.keep * x


@dataclass(frozen=True)
class Block:
    """One execution depth: the module, which visit of it this is, and the steps its stream takes."""

    prefix: str
    path: str
    visit: int
    steps: tuple[Add, ...]
    continues: bool = True  # its input is the output of the block before; False behind a merge of stages
    mixing: Callable | None = None  # (module, cache, prefix) -> [batch, channel, query, key], where it is no pattern
    mixes: tuple[str, str] | None = None  # the sites that matrix leads from and to, where both are sites

    @property
    def resid_pre(self) -> str:
        return f"{self.prefix}.hook_resid_pre"

    @property
    def resid_post(self) -> str:
        return f"{self.prefix}.hook_resid_post"


@dataclass
class SiteMap:
    """Sites with their taps, blocks in execution order, and what the model declares about itself.

    `stem` is the step that makes the first block's stream out of embeddings. `unembed` is the path of the module
    that turns the final stream (after `final_norm`) into the output, where there is one. `input_name` is the
    argument a bare tensor is passed as. The three declarations at the end are exact: the contract tests both
    directions.
    """

    sites: dict[str, tuple[Site, Tap]] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    stem: Add | None = None
    final_norm: NormRef | None = None
    unembed: str | None = None
    input_name: str | None = None
    d_vocab: int | None = None
    n_ctx: int | None = None
    causal: bool = False
    unused_parameters: dict[str, str] = field(default_factory=dict)
    inert_sites: dict[str, str] = field(default_factory=dict)
    random_sites: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # sites one may look for, and why they are not there

    @property
    def gates(self) -> list[str]:
        """Names of the sites that say how much of the stream a block keeps."""
        steps = (step for block in self.blocks.values() for step in block.steps)
        return [name for step in steps if not isinstance(step.keep, float | int) for name in step.keep.reads]

    @property
    def writes(self) -> list[str]:
        """Names of everything that blocks add to the stream, in order of writing."""
        return [name for block in self.blocks.values() for step in block.steps for name in step.writes]

    def add(
        self, name: str, tap: Tap, *, visit: int = 0, depth: int | None = None, foreign: bool = False, **facts
    ) -> None:
        """Declare a site. Its axes and whether it is cached by default come from the vocabulary.

        A `foreign` module may have names of its own: they follow the style and bring their axes. Raises BadInput
        for a name outside the vocabulary (or the style), and for one declared twice.
        """
        if name in self.sites:
            raise BadInput(f"site {name!r} is declared twice in this site map")
        if foreign and "axes" in facts:
            check_style(name)
        else:
            kind = kind_of(name)
            facts = {"axes": kind.axes, "on_request": kind.on_request} | facts
        self.sites[name] = (Site(name, depth=depth, module=tap.path, visit=visit, **facts), tap)

    def within(self, prefix: str) -> "SiteMap":
        """The same map for a module that holds the mapped one at `prefix` (a head around a base model)."""
        if not prefix:
            return self

        def path(p: str) -> str:
            return f"{prefix}.{p}" if p else prefix

        def ref(n: NormRef | None) -> NormRef | None:
            return n and replace(n, path=path(n.path))

        def add(step: Add) -> Add:
            return replace(step, norm=ref(step.norm))

        return replace(
            self,
            sites={
                n: (replace(s, module=path(s.module)), replace(t, path=path(t.path)))
                for n, (s, t) in self.sites.items()
            },
            blocks={
                k: replace(b, path=path(b.path), steps=tuple(map(add, b.steps))) for k, b in self.blocks.items()
            },
            roles={path(p): r for p, r in self.roles.items()},
            stem=self.stem and add(self.stem),
            final_norm=ref(self.final_norm),
            unembed=self.unembed and path(self.unembed),
            unused_parameters={path(p): why for p, why in self.unused_parameters.items()},
        )
