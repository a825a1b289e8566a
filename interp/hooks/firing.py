"""Setting hooks for the length of a `with`, counting visits, and proving that what was asked for fired."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from interp.hooks.site import Site
from interp.hooks.sitemap import SiteMap
from interp.hooks.tap import _TAPS, IN, OUT, Call, Tap
from interp.results.errors import MissingSite

Handler = Callable[[Tensor, Site], Tensor | None]


class Stop(Exception):
    """Raised inside a forward when everything that was wanted has been read."""


class Firing:
    """The hooks of one or more forwards: what to do at which (module, point, visit), and how often it happened.

    `handlers` is a list of (site name, function); functions of one site run in order, each seeing what the one
    before returned. `stop` ends a forward by `Stop` once every site has fired.
    """

    def __init__(self, root: nn.Module, sitemap: SiteMap, handlers: Iterable[tuple[str, Handler]], stop=False):
        self.root, self.map, self.stop = root, sitemap, stop
        self.handlers: dict[str, list[Handler]] = defaultdict(list)
        for name, function in handlers:
            self.handlers[name].append(function)
        self.counts: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.values: dict[str, Tensor] = {}
        self.visits: dict[tuple[str, str], int] = {}
        self.offsets: dict[tuple[str, str], int] = {}  # visits that a shortened forward does not make
        self.forwards = 0
        self.needed: set[str] = set()
        self.lenient: set[str] = set()  # sites in blocks that this forward skips: they need not fire
        self.pending: set[str] = set()

    # -- one forward ---------------------------------------------------------------------------------------------

    def begin(self, *_) -> None:
        """Start of a forward: nothing has been visited yet."""
        self.forwards += 1
        self.visits = dict(self.offsets)
        self.values.clear()
        self.pending = set(self.handlers)

    def visit(self, path: str, point: str, table: dict, raw, call: Call):
        """Run the handlers of every site at this point for this visit; returns the raw value, changed or not."""
        key = (path, point)
        number = self.visits.get(key, 0)
        self.visits[key] = number + 1
        entries = table.get(number)
        if entries is None:
            return raw
        call.values = self.values
        for site, tap in entries:
            raw = self.fire(site, tap, raw, call)
        if self.stop and not self.pending:
            raise Stop
        return raw

    def fire(self, site: Site, tap: Tap, raw, call: Call):
        """Read one site, hand it to its handlers, and write back what they returned."""
        view, name = tap.view, site.name
        value = view.read(raw, call)
        for handler in self.handlers.get(name, ()):
            new = handler(value, site)
            if new is not None and new is not value:
                raw = view.write(raw, new, call)
                value = new
        if name in self.needed:
            self.values[name] = value
        self.counts[name] = self.counts.get(name, 0) + 1
        self.shapes[name] = value.shape
        self.pending.discard(name)
        return raw

    def finish(self, *_) -> None:
        """End of a forward: a site that was asked for and did not fire is an error."""
        self.pending -= self.lenient
        if self.pending:
            raise MissingSite(self.explain(sorted(self.pending)))

    def explain(self, silent: list[str]) -> str:
        """Which sites did not fire, and what is known about why."""
        site = self.map.sites[silent[0]][0]
        seen = self.visits.get((site.module, self.map.sites[silent[0]][1].where), 0)
        why = (
            f"its module {site.module!r} ran {seen} time(s) and this site is visit {site.visit}"
            if seen
            else f"its module {site.module!r} was not called, or does not compute that value "
            "(a branch not taken, a fused kernel, or a module bypassed by its weights)"
        )
        more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        return f"site {silent[0]!r}{more} was asked for and did not fire: {why}."

    # -- setting and taking away ---------------------------------------------------------------------------------

    @contextmanager
    def active(self, roles: Iterable[str] = ()) -> Iterator["Firing"]:
        """Hooks on, for every forward of the root inside the block; `roles` are module paths to open up too."""
        groups, self.needed = self._plan()
        roles, undo = set(roles), []
        try:
            for path, points in groups.items():
                roles |= self._hook(path, submodule(self.root, path), points, undo.append)
            for path in sorted(roles):
                undo.append(self.map.roles[path].install(submodule(self.root, path)))
            undo.append(self.root.register_forward_pre_hook(self.begin, prepend=True).remove)
            undo.append(self.root.register_forward_hook(self.finish).remove)
            yield self
        finally:
            while undo:
                undo.pop()()

    def _plan(self):
        """Group what is wanted by module and point: {path: {point: {visit: [(site, tap)]}}}."""
        needed, wanted = set(), set(self.handlers)
        for name in list(wanted):
            while (need := self.map.sites[name][1].view.needs) is not None:
                needed.add(need)
                name = need
        groups: dict[str, dict] = {}
        # a stream read before it is needed, a norm's scale before its value: declaration order is execution order
        for name in (n for n in self.map.sites if n in wanted or n in needed):
            site, tap = self.map.sites[name]
            points = groups.setdefault(tap.path, {})
            points.setdefault(tap.where, {}).setdefault(site.visit, []).append((site, tap))
        return groups, needed

    def _hook(self, path: str, module: nn.Module, points: dict, undo) -> set[str]:
        """Set the torch hooks of one module; returns its path if its role must be opened for a marked point."""
        marked = {}
        for point, table in points.items():
            if point == OUT:
                undo(module.register_forward_hook(partial(self._on_out, path, table)).remove)
            elif isinstance(point, tuple):
                hook = partial(self._on_in, path, point[1], table)
                undo(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
            else:
                marked[point] = table
        if not marked:
            return set()
        outer = module.__dict__.get(_TAPS)
        module.__dict__[_TAPS] = partial(self._on_mark, path, module, marked, outer)
        undo(partial(_restore, module, outer))
        return {path} if path in self.map.roles else set()

    def _on_out(self, path, table, module, args, output):
        call = Call(module, args[0] if args else None)
        new = self.visit(path, OUT, table, output, call)
        return None if new is output else new

    def _on_in(self, path, arg, table, module, args, kwargs):
        if isinstance(arg, int) and arg < len(args):
            new = self.visit(path, (IN, arg), table, args[arg], Call(module))
            return None if new is args[arg] else ((*args[:arg], new, *args[arg + 1 :]), kwargs)
        name = arg if isinstance(arg, str) else next(iter(kwargs))
        new = self.visit(path, (IN, arg), table, kwargs[name], Call(module))
        return None if new is kwargs[name] else (args, {**kwargs, name: new})

    def _on_mark(self, path, module, marked, outer, point, value):
        if outer is not None:
            value = outer(point, value)
        table = marked.get(point)
        return value if table is None else self.visit(path, point, table, value, Call(module))


def submodule(root: nn.Module, path: str) -> nn.Module:
    """`root.get_submodule(path)` without its checks of every step, which took a tenth of a small model's run."""
    module = root
    for name in path.split(".") if path else ():
        module = module._modules.get(name)
        if module is None:
            return root.get_submodule(path)  # which says what is missing
    return module


def _restore(module: nn.Module, outer) -> None:
    if outer is None:
        module.__dict__.pop(_TAPS, None)
    else:
        module.__dict__[_TAPS] = outer
