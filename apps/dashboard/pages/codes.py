"""Codes: discrete codes of a model, found by pattern, read by their examples, switched on while text is written."""

import pandas as pd
import streamlit as st

from apps.dashboard import cards, code_readings, exports, folders, jobs, state, views
from interp.results import Run

FIRST = "the"
PROMPT = "The people of the United States"


def page() -> None:
    """Draw the page."""
    st.title("Codes")
    run = state.get("run") or next(iter(code_readings.names()), "")
    with cards.guarded("these codes"):
        if not run:
            cards.empty("No books yet.", "Train some: interp codebook train --model garden/text-small --out runs/books")
            return
        if not (folders.find(run) / code_readings.FACTS).is_file():
            cards.note(f"{run} holds no books; the newest run that does is shown.")
            run = next(iter(code_readings.names()))
        _about(run)
        _search(run)


def _about(run: str) -> None:
    known, facts, made = code_readings.names(), code_readings.about(run), folders.open_run(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(known) > 1:
            if not state.get("run"):
                state.put(run=run)
            state.choose("run", "Books", known if run in known else [run, *known], drop=("code",), width=320)
    count = sum(facts["codes"][site] * (facts["groups"][site] or 1) for site in facts["sites"])
    st.caption(f"{facts['model']}: {count:,} codes at {len(facts['sites'])} sites. Every vector there is replaced by "
               f"the sum of its {facts['k']} most similar codes (arXiv 2310.17230), so that what the model says is a "
               f"few numbers per token. {_cost(made)}")


def _cost(made: Run) -> str:
    scores = made.info["summary"] if isinstance(made.info.get("summary"), dict) else {}
    parts = [f"{name} {value['value']:.3g} [{value['low']:.3g}, {value['high']:.3g}]" for name, value in scores.items()
             if isinstance(value, dict) and {"value", "low", "high"} <= set(value)]
    return f"On held-out text: {'; '.join(parts)}." if parts else ""


# -- search ---------------------------------------------------------------------------------------------------------


def _search(run: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.field("q", "Find codes that are active on", placeholder="the, [0-9]+, war|battle ...", width=340,
                    drop=("code",),
                    help="Words or a regular expression. Its first group, or else the whole match, is what is meant.")
        by = state.choose("mode", "Best", ["f1", "precision"], widget=st.segmented_control, drop=("code",))
    pattern = state.get("q") or FIRST
    frame = pd.DataFrame()
    left, right = st.columns([1, 1], gap="medium")
    with left, cards.guarded("this search"):
        frame = code_readings.found(run, pattern, by)
        if not len(frame):
            cards.empty(f"No code is active on more than 1 % of what {pattern!r} marks.", "Try another pattern, or f1.")
        else:
            st.caption(f"The {len(frame)} best codes, chosen on one half of {code_readings.count(run)} held-out texts "
                       f"and scored on the other, where {int(frame['matches'][0])} tokens are meant. Click one.")
            shown = frame[["name", "precision", "recall", "f1", "activations", "selected_precision"]]
            views.table("codes-table", shown, height=420,
                        on_select=lambda i: state.put(code="" if i is None else frame["name"][i]))
            exports.bar("codes", frame, None,
                        _code(run) + f"print(found.search({pattern!r}, by={by!r}, n=30).frame())\n")
    code = state.get("code") or (frame["name"][0] if len(frame) else "")
    if not code:
        return
    with right, cards.guarded("this code"):
        _one(run, code)
    with cards.guarded("a text of one's own"):
        _text(run, code, pattern)


def _one(run: str, code: str) -> None:
    site, group, number = code_readings.split(code)
    st.subheader(f"code {number}, {'head' if 'attn' in site else 'group'} {group}, {site.removesuffix('.hook_z')}")
    shown = code_readings.examples(run, code)
    if not len(shown):
        cards.empty("This code is active nowhere in these texts.", "Choose another one.")
    else:
        st.caption(f"Tokens on which it is active, the most similar first ({len(shown)} at most are shown).")
        views.table("examples", shown[["before", "token", "after"]], height=330)
        exports.bar("examples", shown, None, _code(run) + f"print(found.examples({site!r}, {group}, {number}, n=30))\n")
    with st.expander("Codes with the nearest directions in the same book"):
        near = code_readings.similar(run, code)
        views.table("similar", near, on_select=lambda i: state.put(code="" if i is None else near["code"][i]))


# -- text -----------------------------------------------------------------------------------------------------------


def _text(run: str, code: str, pattern: str) -> None:
    facts = code_readings.about(run)
    if not facts["reads"]:
        cards.note(f"{facts['model']} reads no text, so none can be typed or written.")
        return
    st.subheader("On a text of your own")
    state.field("say", "Text", placeholder=PROMPT)
    text = state.get("say") or PROMPT
    frame = code_readings.active(run, text, code)
    st.caption("Blue: the code is active there; the darker, the more similar it is than the others that are.")
    with st.container(key="code-text"):
        views.strip("text", list(frame["token"]), list(frame["strength"]), label=f"where {code} is active", largest=1.0,
                    legend=False)
    site, group, number = code_readings.split(code)
    exports.bar("code-text", frame, "code-text", _code(run) + (
        "from interp.codebook.circuits import Code\nfrom interp.codebook.on_text import on_text\n\n"
        f"print(on_text(books, {text!r}, Code({site!r}, {group}, {number})))\n"))
    if not facts["writes"]:
        cards.note(f"{facts['model']} does not predict the next token, so it cannot continue a text.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        every = st.toggle("In all slots", key="every", help=f"All {facts['k']} codes of the sum, not only the last.")
        if st.button("Continue it, with the code on and off", type="primary", icon=":material/edit_note:"):
            started = jobs.start("steer", folder=folders.find(run), prompt=text, code=[code], every_slot=every,
                                 topic=pattern, samples=3, length=24, seed=state.get("seed"))
            st.session_state["continued"] = (run, code, text), started
    asked, made = st.session_state.get("continued", (None, ""))
    if asked == (run, code, text):
        if not jobs.show(made):
            _steered(run, made, code, every)


MEANS = {"model": "The model", "books": "The model on its codes", "steered": "With the code on at every token"}


def _steered(run: str, made: str, code: str, every: bool) -> None:
    found = code_readings.steered(made)
    if found is None:
        return
    texts, rates = found
    for column, (way, title) in zip(st.columns(3), MEANS.items()):
        with column, st.container(border=True):
            row = rates.set_index("way").loc[way]
            st.markdown(f"**{title}**")
            st.caption(f"{row['topic']:.0%} [{row['low']:.0%}, {row['high']:.0%}] match the pattern; perplexity for "
                       f"the model without books {row['perplexity']:.3g} (median)")
            for written in texts[texts["way"] == way]["text"]:
                st.text(f"... {str(written).strip()}")
    cards.note("The same random numbers in all three; intervals are over three texts. Filling all slots makes word "
               "salad, and in garden/text-small no single code reached a topic reliably: docs/codebook.md.")
    site, group, number = code_readings.split(code)
    config = folders.open_run(made).config
    exports.bar("steered", texts, None, _code(run) + (
        "from interp.codebook.circuits import Code\nfrom interp.codebook.steering import activated, steer\n\n"
        f"on = activated(books, [Code({site!r}, {group}, {number})], every_slot={every})\n"
        f"ways = {{'model': None, 'books': books, 'steered': on}}\n"
        f"done = steer(books, [{config['prompt']!r}], ways, {config['topic']!r}, samples={config['samples']}, "
        f"length={config['length']}, seed={folders.open_run(made).seed})\nprint(done.frame())\n"))


def _code(run: str) -> str:
    return ("import interp\nfrom interp.codebook import TokenCodes, load\n"
            "from interp.tasks.corpus import documents\n\n"
            f"folder = {str(folders.find(run))!r}\n"
            "books = load(folder, interp.load(interp.Run.open(folder).config['model']))\n"
            f"texts = [d.text[2000:{2000 + code_readings.CHARACTERS}] for d in documents() if d.split == 'test']\n"
            f"found = TokenCodes.of(books, texts[:{code_readings.TEXTS}])\n")
