"""Declaring the sites of one block: the few calls that every site map is written with."""

from interp.hooks.roles import Activation, Norm, Role
from interp.hooks.sitemap import Add, Block, NormRef, SiteMap
from interp.hooks.tap import IN, OUT, Heads, Plus, Result, Tap, View, Whole

LAYER_NORM = Norm()


class Declare:
    """Sites of the block `prefix` (`blocks.3`), whose module is `path` and whose visit is `visit`.

    Paths given to the methods are relative to the block's module ("" is the block itself). Declare in execution
    order: where several sites live at one point, it is the order their hooks run in.
    """

    def __init__(self, sitemap: SiteMap, prefix: str, path: str, depth: int, visit: int = 0):
        self.map, self.prefix, self.path, self.depth, self.visit = sitemap, prefix, path, depth, visit

    def at(self, relative: str) -> str:
        """A path relative to the block as one relative to the model."""
        return ".".join(part for part in (self.path, relative) if part)

    def name(self, kind: str) -> str:
        return f"{self.prefix}.{kind}"

    def site(self, kind: str, path: str, point: str = OUT, view: View = Whole(), arg: int | str = 0,
             visit: int = 0, **facts) -> None:
        """One site of the vocabulary at a point of a module; `visit` counts within one pass of the block."""
        tap = Tap(self.at(path), point, view, arg)
        self.map.add(self.name(kind), tap, visit=self.visit + visit, depth=self.depth, **facts)

    def role(self, path: str, role: Role) -> None:
        self.map.roles[self.at(path)] = role

    def norm(self, kind: str, path: str, role: Norm = LAYER_NORM) -> NormRef:
        """Scale and normalised value of a norm (`kind`: ln1, ln2, ln1_post ...); returns its term for equations."""
        self.role(path, role)
        self.site(f"{kind}.hook_scale", path, "scale")
        self.site(f"{kind}.hook_normalized", path, "normalized")
        return NormRef(self.at(path), role, self.name(f"{kind}.hook_scale"))

    def attention(
        self, path: str, *, q, k, v, out: str, heads: int, kv_heads: int | None = None, rotary: bool = False,
        role: Role | None = None, transposed: bool = False, kind: str = "attn", inside: bool = True,
        pattern_axes: tuple[str, ...] | None = None, pattern: str = "softmax", result: bool = True,
    ) -> None:
        """All sites of one attention: `q`, `k`, `v` are paths of projections or (path, view) of a fused one, `out`
        the output projection, `path` the module that computes the scores; `inside` is False where they are hidden.
        `pattern_axes` replaces the axes where the batch axis is not the prompts (windows); `pattern` says what its
        rows are, `result` is False where `out` is no linear map."""
        kv_heads = kv_heads or heads
        own = {"axes": pattern_axes} if pattern_axes else {}
        for letter, where, n in (("q", q, heads), ("k", k, kv_heads), ("v", v, kv_heads)):
            where, view = where if isinstance(where, tuple) else (where, Heads(n))
            windows = {"axes": (pattern_axes[0], "pos", "head", "d_head")} if pattern_axes else {}
            self.site(f"{kind}.hook_{letter}", where, view=view, heads=n, groups=heads // n, **windows)
        if inside:
            if role is not None:
                self.role(path, role)
            if rotary:
                self.site(f"{kind}.hook_rot_q", path, "rot_q", heads=heads)
                self.site(f"{kind}.hook_rot_k", path, "rot_k", heads=kv_heads, groups=heads // kv_heads)
            self.site(f"{kind}.hook_attn_scores", path, "attn_scores", heads=heads, **own)
            self.site(f"{kind}.hook_pattern", path, "pattern", heads=heads, pattern=pattern, **own)
        windows = {"axes": (pattern_axes[0], "pos", "head", "d_head")} if pattern_axes else {}
        self.site(f"{kind}.hook_z", out, IN, Heads(heads), heads=heads, **windows)
        windows = {"axes": (pattern_axes[0], "pos", "head", "d_model")} if pattern_axes else {}
        if not result:
            return
        self.site(f"{kind}.hook_result", out, OUT, Result(heads, transposed), heads=heads, **windows)

    def mlp(self, *, pre: str, out: str, act: str, linear: str | None = None, elementwise: bool = True) -> None:
        """Sites of an MLP: `pre` is the projection before the nonlinearity `act`, `out` the one after it. Where that
        is not `elementwise`, the engines see the functions that it is made of."""
        if elementwise:
            self.role(act, Activation())
        self.site("mlp.hook_pre", pre)
        if linear is not None:
            self.site("mlp.hook_pre_linear", linear)
        self.site("mlp.hook_post", out, IN)

    def resid_pre(self, view: View = Whole()) -> None:
        self.site("hook_resid_pre", "", IN, view)

    def after(self, kind: str, branch: str, start: str = "hook_resid_pre", view: View = Whole()) -> None:
        """The stream behind a branch whose module returns what it adds."""
        self.site(kind, branch, view=Plus(self.name(start), view))

    def add(self, start: str, writes: tuple[str, ...], to: str, norm: NormRef | None = None, keep: float = 1.0) -> Add:
        names = tuple(self.name(w) for w in writes)
        return Add(self.name(start), names, self.name(to), norm, keep)

    def done(self, *steps: Add, continues: bool = True, mixing=None, mixes: tuple[str, str] | None = None) -> None:
        """Close the block with its equation; `mixes` are the kinds of site that its mixing matrix leads from and to."""
        self.map.blocks[self.prefix] = Block(
            self.prefix, self.path, self.visit, steps, continues, mixing, mixes and tuple(map(self.name, mixes))
        )

    def pre_norm(self) -> None:
        """Close a block that adds attention, then an MLP: the equation of GPT-2 and most others."""
        self.done(
            self.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid"),
            self.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post"),
        )
