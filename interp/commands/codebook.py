"""`interp codebook`: train books of discrete codes in a model, read them, search them, steer with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from interp.commands.shared import (
    Debug,
    Json,
    Keep,
    Model,
    Out,
    Resume,
    Seed,
    print_json,
    print_table,
    records,
    register,
    stdout,
)

if TYPE_CHECKING:
    from interp.codebook import Books
    from interp.codebook.circuits import Code

app = typer.Typer(
    help="Replace activations by sums of a few discrete codes; read, search and steer with them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="\b\nStart with:\n  interp codebook train --model garden/text-small --out runs/books\n"
    "  interp codebook search runs/books \"war|battle\"",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `interp codebook train`.")]
Given = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="MODEL", show_default=False, help="The model, where DIR does not say it."),
]
Texts = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", show_default=False,
                 help="Texts with blank lines between them; by default, held-out addresses."),
]


def add_to(parent: typer.Typer) -> None:
    """Register the group."""
    register(app, train, "Train books in a model.",
             'interp codebook train --model garden/text-small --sites "blocks.*.attn.hook_z" --out runs/books')
    register(app, codes, "Show the codes of a text.", 'interp codebook codes runs/books "peace with all nations"')
    register(app, search, "Find codes that act as a regular expression does.",
             'interp codebook search runs/books "war|battle"')
    register(app, steer, "Generate text with a code switched on, beside text without.",
             'interp codebook steer runs/books "The people" --code blocks.2.attn.hook_z:0:17 --topic "war|battle"')
    parent.add_typer(app, name="codebook", short_help="Discrete codes in place of activations.")


def train(
    model: Model,
    sites: Annotated[
        list[str] | None, typer.Option("--sites", metavar="SITE", help="Where books go; repeat, or use wildcards.")
    ] = None,
    n_codes: Annotated[int, typer.Option("--codes", min=1, metavar="N", help="Codes of each book.")] = 1024,
    k: Annotated[int, typer.Option("--k", min=1, metavar="N", help="How many codes are active at once.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Steps of training.")] = 300,
    batch: Annotated[int, typer.Option("--batch", min=1, metavar="N", help="Rows of a step.")] = 8,
    windows: Annotated[int, typer.Option("--windows", min=2, metavar="N", help="Windows of text to train on.")] = 512,
    tokens: Annotated[int, typer.Option("--tokens", min=2, metavar="N", help="Tokens of a window.")] = 64,
    rate: Annotated[float, typer.Option("--rate", metavar="R", help="Learning rate of the codes.")] = 1e-3,
    finetune: Annotated[
        float | None,
        typer.Option("--finetune", metavar="R", show_default=False, help="Let the model adapt, at this learning rate."),
    ] = None,
    replace_every: Annotated[
        int, typer.Option("--replace-every", min=0, metavar="N", help="Steps after which unused codes move; 0: never.")
    ] = 50,
    out: Out = None,
    resume: Resume = False,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train books at sites of a model on text, a causal model with its own loss, and measure them on held-out text.

    Writes a run folder with the books, a table of what is used, and the model's weights where it was finetuned.
    """
    from interp.codebook import attach, measure
    from interp.codebook.train import next_token
    from interp.commands.opened import model_hash, open_model, open_run
    from interp.results.training_state import CHECKPOINT

    hooked = open_model(model)
    wanted = sites or ["blocks.*.attn.hook_z"]
    x, targets = _windows(hooked, windows, tokens, seed, "train")
    held, asked = _windows(hooked, 32, tokens, seed, "test")
    books = attach(hooked, wanted, n_codes=n_codes, k=k, init="kmeans", example=x[: max(8, 4096 // tokens)], seed=seed)
    config = {"model": model, "sites": wanted, "codes": n_codes, "k": k, "steps": steps, "batch": batch,
              "windows": windows, "tokens": tokens, "rate": rate, "finetune": finetune, "replace_every": replace_every}
    with open_run(out, "codebook", config, seed, resume) as run:
        run.set_model(model_hash(hooked))
        with run.timed("training"):
            books.train((x, targets), steps=steps, batch=batch, rate=rate, model_rate=finetune, seed=seed,
                        objective=None if targets is None else next_token, replace_every=replace_every, folder=run.path)
        with run.timed("measuring"):
            measured = measure(books, held, asked)
        books.save(run)
        measured.save(run)
        (run.path / CHECKPOINT).unlink(missing_ok=True)
    if as_json:
        scores = {name: score.to_dict() for name, score in measured.scores.items()}
        print_json({"model": hooked.name, "scores": scores, "sites": records(measured.frame()), "run": str(run.path)})
        return
    for name, score in measured.scores.items():
        stdout().print(f"{name}: {score}", markup=False, soft_wrap=True)
    print_table(measured.frame(), f"books of {hooked.name} on {measured.n_tokens} held-out tokens")
    stdout().print(f"written to {run.path}", soft_wrap=True)


def codes(
    folder: Folder,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to read.")],
    model: Given = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show which codes are active at every token of a text, most similar first; heads are divided by "|"."""
    import pandas as pd

    from interp.codebook import TokenCodes

    found = TokenCodes.of(_open(folder, model), [text])
    where = found.tokens.real.nonzero().tolist()
    table = {"token": [found.tokens.piece(row, pos) for row, pos in where]}
    for site, ids in found.codes.items():
        table[site] = [" | ".join(" ".join(map(str, group)) for group in ids[row, pos].tolist()) for row, pos in where]
    if as_json:
        print_json({"tokens": table["token"], "codes": {
            site: [ids[row, pos].tolist() for row, pos in where] for site, ids in found.codes.items()}})
        return
    for site in found.codes:
        stdout().print(f"[bold]{site}[/]", soft_wrap=True)  # a title would be folded to the width of a narrow table
        print_table(pd.DataFrame({"token": table["token"], "codes": table[site]}), rows=200)


def search(
    folder: Folder,
    pattern: Annotated[
        str | None,
        typer.Argument(metavar="REGEX", show_default=False, help="The first group that matches marks what is meant."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="SITE:GROUP:CODE", show_default=False,
                     help="Instead of REGEX: list the codes of the same book that are most similar to this one."),
    ] = None,
    file: Texts = None,
    by: Annotated[
        Literal["precision", "f1"] | None,
        typer.Option("--by", show_default="precision", help="What codes for REGEX are chosen by."),
    ] = None,
    inside: Annotated[bool, typer.Option("--inside-words", help="Let matches begin and end inside words.")] = False,
    about: Annotated[
        bool, typer.Option("--topic", help="Find codes that are active throughout texts it occurs in, not on it.")
    ] = False,
    index: Annotated[
        Path | None,
        typer.Option("--index", metavar="DIR", show_default=False, help="Keep the codes of the texts there, on disk."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, metavar="N", help="How many codes to list.")] = 10,
    texts: Annotated[int, typer.Option("--texts", min=2, metavar="N", help="Held-out texts to look at.")] = 64,
    model: Given = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List codes that are active where a regular expression matches: chosen on one half of the texts, with precision
    and recall on the other half. With --topic, codes that tell the texts it occurs in by how much of them they are
    active on, with the chance of being right about two texts. With --like, codes whose direction is similar to that of
    a code, with the cosine. Examples of the first are shown.
    """
    from interp.codebook import TokenCodes, build_index, similar
    from interp.results.errors import BadInput

    if (pattern is None) == (like is None):
        raise BadInput("give a REGEX, or --like SITE:GROUP:CODE")
    if about and by is not None:
        raise BadInput("--topic chooses codes by their chance of telling two texts apart: leave --by out")
    if like is not None and (about or inside or by is not None):
        raise BadInput("--like asks for no REGEX: leave --topic, --by and --inside-words out")
    books = _open(folder, model)
    if like is not None:
        site, group, code = _code(like)
        table = similar(books, site, group, code, n).assign(site=site, group=group)[["site", "group", "code", "cosine"]]
    given = _texts(file, texts)
    found = TokenCodes.of(books, given) if index is None else build_index(books, given, index)
    if about:
        table = found.topic(pattern, words=not inside, n=n)
    elif like is None:
        table = found.search(pattern, by=by or "precision", words=not inside, n=n).frame()
    shown = [] if table.empty else [found.examples(*table.loc[0, ["site", "group", "code"]])]
    if as_json:
        print_json({"pattern": pattern, "like": like, "codes": records(table), "examples": [records(e) for e in shown]})
        return
    print_table(table, f"codes for {pattern!r}, scored on texts they were not chosen on" if like is None
                else f"codes like {like}")
    for examples in shown:
        print_table(examples.map(lambda v: v.replace("\n", " ") if isinstance(v, str) else v), "examples of the first")


def steer(
    folder: Folder,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to continue.")],
    code: Annotated[
        list[str], typer.Option("--code", metavar="SITE:GROUP:CODE", show_default=False, help="To switch on; repeat.")
    ],
    every_slot: Annotated[bool, typer.Option("--every-slot", help="Fill all slots, not the last only.")] = False,
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="REGEX", show_default=False, help="Count texts that match it.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, metavar="N", help="Texts of each kind.")] = 8,
    length: Annotated[int, typer.Option("--length", min=1, metavar="N", help="New tokens of each.")] = 40,
    model: Given = None,
    out: Keep = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Continue a prompt with a code switched on at every token, with the books alone, and with neither, from the same
    random numbers. With --out the texts are kept as a run.

    Perplexity is that of the new text under the model before it had books: how fluent it is.
    """
    from interp.codebook.steer import fits
    from interp.codebook.steering import activated
    from interp.codebook.steering import steer as compare
    from interp.commands.opened import model_hash, open_run
    from interp.tasks.text import encode

    books = _open(folder, model)
    past = books.model.keeps_past and fits(books.model, len(encode(books.model.tokenizer, prompt)) + length)
    ways = {"model": None, "books": books, "steered": activated(books, [_code(c) for c in code], every_slot=every_slot)}

    def compared() -> Any:
        return compare(books, [prompt], ways, topic or "(?!)", samples=samples, length=length, seed=seed,
                       past=past)

    if out is None:
        found = compared()
    else:
        config = {"model": books.model.name, "books": str(folder), "prompt": prompt, "code": code, "topic": topic,
                  "every_slot": every_slot, "samples": samples, "length": length}
        with open_run(out, "steer", config, seed, resume=False) as run:
            run.set_model(model_hash(books.model))
            found = compared()
            found.save(run)
    summary, texts = found.frame(), found.texts.drop(columns="prompt")
    if topic is None:
        summary, texts = summary[["way", "perplexity"]], texts.drop(columns="topic")
    if as_json:
        print_json({"prompt": prompt, "codes": code, "summary": records(summary), "texts": records(texts)})
        return
    print_table(texts.assign(text=texts["text"].str.replace("\n", " ")), f"after {prompt!r}", rows=len(texts))
    print_table(summary, "share with topic, median perplexity")


def _windows(model: Any, n: int, tokens: int, seed: int, split: str) -> tuple[Any, Any]:
    """Windows of text with the next tokens, or None where the model does not predict them."""
    import torch

    from interp.depth.examples import examples
    from interp.tasks.sequences import IGNORE

    x = examples(model, n, tokens, seed, split).x
    if not model.map.causal or x.is_floating_point():
        return x, None
    return x, torch.cat([x[:, 1:], torch.full_like(x[:, :1], IGNORE)], 1)


def _texts(file: Path | None, n: int) -> list[str]:
    from interp.results.files import read_text
    from interp.tasks.corpus import documents

    if file is not None:
        return [part for part in read_text(file).split("\n\n") if part.strip()]
    held = [document.text for document in documents() if document.split == "test"]
    return [held[i % len(held)][2000 * (i // len(held)) :][:2000] for i in range(n)]


def _open(folder: Path, model: str | None) -> "Books":
    from interp.codebook import load
    from interp.commands.opened import open_model
    from interp.results import Run

    return load(folder, open_model(model or Run.open(folder).config["model"]))


def _code(text: str) -> "Code":
    from interp.codebook.circuits import Code
    from interp.results.errors import BadInput

    site, *numbers = text.split(":")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise BadInput(f"{text!r} is no code: write it like blocks.2.attn.hook_z:0:17 (site, group, code)")
    return Code(site, *map(int, numbers))
