"""Programs: a trained program line by line on an input, where it is wrong, and programs compiled into models."""

import streamlit as st

from apps.dashboard import cards, exports, program_readings, state, views

MOST = 500
"""Rows of a table that are shown."""
MODES = {"read": "Read it", "wrong": "Where it is wrong", "compile": "Compile one"}


def page() -> None:
    """Draw the page."""
    st.title("Programs")
    mode = state.choose("mode", "What", list(MODES), widget=st.segmented_control, format_func=MODES.get,
                        label_visibility="collapsed")
    if mode == "compile":
        with cards.guarded("the compiled program"):
            _compile()
        return
    with cards.guarded("this program"):
        name = _choose()
        if mode == "wrong":
            _wrong(name)
        else:
            _read(name)


def _choose() -> str:
    known, name = program_readings.names(), state.get("prog")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.choose("prog", "Program", known if name in known else [name, *known], drop=("tok", "pos"), width=260,
                     help="Those that ship, and what `interp programs train` made in your run folders.")
        if state.get("mode") != "wrong":
            state.field("tok", "Sequence", drop=("pos",), width=300,
                        placeholder=program_readings.FIRST.get(name, "words, apart by blanks"))
    program, pruned = program_readings.opened(name)
    heads = sum("Head" in type(step).__name__ for step in pruned.operators)
    ends = [end for end in (program.begin, program.end) if end is not None]
    words = [word for word in program.vocab if word not in ends]
    size = f"{heads} heads and {len(list(pruned.operators)) - heads} look-up tables in {len(pruned.layers)} layers"
    st.caption(f"A Transformer Program (arXiv 2306.01128): a trained model whose every choice is discrete, as {size}, "
               f"without what no input can reach. It takes 1 to {program.n_ctx - len(ends)} of: {' '.join(words)}")
    return name


# -- read -----------------------------------------------------------------------------------------------------------


def _read(name: str) -> None:
    text = state.get("tok") or program_readings.FIRST.get(name) or program_readings.opened(name)[0].vocab[-1]
    found = program_readings.answered(name, text)
    pos = state.get("pos") if 0 <= state.get("pos") < len(found.words) else 0
    right = found.right is None or all(a is None or a == b for a, b in zip(found.right, found.answers))
    wrong = [i for i, (a, b) in enumerate(zip(found.right or [], found.answers)) if a not in (None, b)]
    st.caption("The sequence; a click chooses the position that is explained." +
               ("" if right else f" Coloured: the answer is not the right one, {found.right[wrong[0]]!r}."))
    with st.container(key="program-words"):
        labels = [f"{word} → {said}" for word, said in zip(found.words, found.answers)] if not found.pooled else \
            found.words
        views.strip("words", labels, [-1.0 if i in wrong else 0.0 for i in range(len(labels))], largest=1.0,
                    label="sequence and answers", legend=False, selected=pos,
                    on_select=lambda i: state.put(pos=0 if i is None else i))
    left, side = st.columns([6, 5], gap="medium")
    with left:
        _source(name, text, pos + found.shift, found.framed)
    with side, cards.guarded("the explanation"):
        _why(name, text, pos, found.pooled)
    with cards.guarded("its graph"):
        _graph(name)


def _source(name: str, text: str, at: int, framed: list[str]) -> None:
    found = program_readings.lit(name, text)
    whole = st.toggle("The scores that are not used, too", key="whole")
    st.caption("Its Python file. Blue: used somewhere in this sequence. Orange: used at the chosen position.")
    with st.container(key="program-source"):
        views.source("source", found.text, found.lines, at=at, label=f"source of {name}", words=framed,
                     fold=() if whole else found.tables)
    st.download_button("The file", found.text, f"{name}.py", "text/x-python", key="program-file", on_click="ignore",
                       help='Needs the standard library only: python FILE "words ..."')


def _why(name: str, text: str, pos: int, pooled: bool) -> None:
    frame, whole = program_readings.explained(name, text, pos)
    head = whole.splitlines()[0]
    st.markdown(f"**{'The answer' if pooled else f'Position {pos}'}: {cards.literal(head)}**")
    st.caption("What each variable adds to that margin, and the row of its table that made its value.")
    views.table("why", frame, height=min(420, 36 * (len(frame) + 1) + 4))
    exports.bar("why", frame, None, _code(name) + f"\nprint(explain(program.prune(framed=True), {text.split()!r}, "
                f"{None if pooled else pos}))\n")
    with st.expander("Back to the words"):
        st.code(whole, language=None)


def _graph(name: str) -> None:
    import pandas as pd

    from interp.programs import graph_figure

    program = program_readings.opened(name)[1]
    st.markdown("**What reads what**")
    with st.container(key="program-graph"):
        views.chart("program-graph-chart", graph_figure(program), alt=f"Variables of {name} and what each reads")
    edges = [{"from": a, "to": b, "roles": ", ".join(roles)} for a, b, roles in program.to_graph().edges(data="roles")]
    frame = pd.DataFrame(edges)
    with st.expander("As a table"):
        views.table("program-edges", frame, height=280)
    exports.bar("program-graph", frame, "program-graph", _code(name) + "\ngraph_figure(program.prune(framed=True))"
                ".show()\nprint(program.prune(framed=True).to_graph().edges(data='roles'))\n")


def _code(name: str) -> str:
    from interp.garden.shipped_programs import program_names

    where = name if name in program_names() else f"runs/{name}"
    return ("from interp.garden.shipped_programs import open_program\nfrom interp.programs import graph_figure\n"
            "from interp.programs.debug import counter_example, coverage, explain\n\n"
            f"program = open_program({where!r})\n")


# -- where it is wrong ----------------------------------------------------------------------------------------------


def _wrong(name: str) -> None:
    program, _ = program_readings.opened(name)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        options = ["right"] * (name in program_readings.ORACLES) + [f"never {label}" for label in program.labels]
        asked = st.selectbox("It should", options, key="should", width=320, format_func=lambda o: (
            "answer as the task does" if o == "right" else f"never answer {o.removeprefix('never ')}"))
    found = program_readings.searched(name, "right" if asked == "right" else "never", asked.removeprefix("never "))
    if found.found is None:
        st.markdown("**No sequence breaks this.** " + (
            f"All {found.tried:,} that it takes were tried: this is a proof." if found.exhaustive else
            f"{found.tried:,} were tried, not all: this is no proof."))
    else:
        words = " ".join(found.found)
        st.markdown(f"**A sequence that breaks it:** `{words}` is answered `{' '.join(found.answers)}`")
        st.caption(("The shortest there is. " if found.shortest else "Shrunk until no word could be left out. ") +
                   f"{found.tried:,} sequences were tried, also such as the task never asks.")
        st.button("Read it on this sequence", icon=":material/code:",
                  on_click=lambda: state.put(mode="read", tok=words, pos=0))
    st.markdown("**Branches**")
    frame = program_readings.covered(name, 400, state.get("seed"))
    unused = int((frame["count"] == 0).sum())
    shown = frame.sort_values("count", ascending=False, kind="stable").head(MOST)
    st.caption(f"{len(frame):,} branches can be reached; {unused:,} are not used by 400 random sequences (seed "
               f"{state.get('seed')}). Counts are of positions" +
               (f"; the {MOST} most used are shown, all are in the CSV." if len(frame) > MOST else "."))
    views.table("branches", shown, height=320)
    exports.bar("branches", frame, None, "from interp.programs.inputs import draw\n" + _code(name) +
                f"\npruned = program.prune(framed=True)\nprint(coverage(pruned, draw(pruned, 400, {state.get('seed')}))"
                ".frame())\n")


# -- compile --------------------------------------------------------------------------------------------------------


def _compile() -> None:
    from interp.programs.rasp import names
    from interp.programs.rasp.library import LIBRARY
    from interp.results.errors import BadInput, nearest

    name, known = state.get("lib"), list(names())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.choose("lib", "Program of the library", known if name in known else [name, *known], width=240,
                     drop=("voc", "tok", "h", "e"))
        state.field("voc", "Words", width=180, drop=("tok",), help="Letters, or words apart by blanks.",
                    placeholder="its own")
        state.field("len", "Longest", widget=st.number_input, min_value=1, max_value=12, step=1, width=110)
    if name not in known:
        raise BadInput(f"the library has no program {name!r}.{nearest(name, known)} It has: {', '.join(known)}")
    made = program_readings.compiled(name, state.get("voc"), state.get("len"))
    st.caption(f"{LIBRARY[name].help} Compiled into the weights of a transformer (arXiv 2301.05062, Tracr): nothing is "
               "trained, so its circuit is known and not found.")
    sizes, check = made.parts.module.sizes, made.check
    for column, (label, value, note) in zip(st.columns(5), (
            ("depths", len(sizes.heads), ""), ("heads", sum(sizes.heads), ""), ("MLP units", sum(sizes.units), ""),
            ("wrong", f"{check.wrong} of {check.inputs:,}", "Inputs on which the model and the program differ."),
            ("margin", f"{made.margin:.4g}", "Smallest margin of any decision: 1 is perfect, below 0 a wrong one."))):
        column.metric(label, value, help=note or None)
    left, right = st.columns([6, 5], gap="medium")
    with left, cards.guarded("its circuit"):
        with st.container(key="compiled-graph"):
            views.graph("compiled", program_readings.circuit(made), label=f"circuit of {name}")
        exports.bar("compiled-circuit", made.frame(), "compiled-graph", _compile_code(name))
    with right:
        text = state.field("tok", "Run it on", placeholder=_example(made))
        with cards.guarded("this sequence"):
            frame = program_readings.on(made, text or _example(made))
            st.caption("Every variable of the program, and what the model answers.")
            views.table("compiled-values", frame)
            exports.bar("compiled-values", frame, None,
                        _compile_code(name) + f"print(made.run({_words(made, text)!r}))\n")
    with st.expander("Where each variable is"):
        views.table("compiled-variables", made.frame())
    if made.negatives:
        cards.note(f"There, and without any part in it: {', '.join(node.label for node in made.negatives)}")


def _example(made) -> str:
    words = [str(value) for value in made.graph.vocab]
    return " ".join((words * made.graph.length)[: made.graph.length])


def _words(made, text: str) -> list:
    known = {str(value): value for value in made.graph.vocab}
    return [known.get(word, word) for word in (text or _example(made)).split()]


def _compile_code(name: str) -> str:
    vocab = f", vocab={program_readings.typed(state.get('voc'))!r}" if state.get("voc") else ""
    return (f"import interp\n\nmade = interp.programs.compile({name!r}{vocab}, length={state.get('len')})\n"
            "print(made.truth.edge_frame())\nprint(made.frame())\n")
