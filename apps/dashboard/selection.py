"""The selected node or edge on Circuit: its numbers, what taking it away costs, its name and group."""

import streamlit as st

from apps.dashboard import access, annotations, cards, folders, results, state
from apps.dashboard.results import Question
from interp.results import Circuit, Estimate, Run


def show(run: str, there: Run, circuit: Circuit) -> None:
    """Draw the numbers of the chosen node or edge, and what can be done with it; a hint where none is chosen."""
    node, edge = state.get("h"), state.get("e")
    if not node and not edge:
        cards.empty("Click a node or an edge." if circuit.edges else "Click a cell.",
                    "Its numbers are shown here, and what taking it away costs.")
        return
    st.subheader(edge or annotations.of(run).names.get(node, node))
    config = there.config
    q = Question(config.get("model", circuit.model), config.get("task", circuit.task), config.get("n", 48), there.seed)
    if edge:
        _edge(q, run, circuit, edge)
    else:
        _node(q, run, circuit, node)


def _edge(q: Question, run: str, circuit: Circuit, label: str) -> None:
    known = {e.label: (e, e in circuit.edges) for e in (*circuit.edges, *circuit.candidate_edges)}
    if label not in known:
        cards.note("This edge is not in this circuit.")
        return
    edge, member = known[label]
    if edge.score is not None:
        st.metric("score, where it was found", f"{edge.score:.4g}")
    st.caption("in the circuit" if member else "scored, not in the circuit")
    _directions(run, label)
    if st.button("Cut it on held-out prompts", type="primary", icon=":material/content_cut:"):
        st.session_state["cut"] = (q, label)
    if st.session_state.get("cut") == (q, label):
        done = results.cut(q, (edge.name,))
        _said(f"Without {label} the metric loses", done, circuit.provenance.get("unit", ""))


def _node(q: Question, run: str, circuit: Circuit, label: str) -> None:
    given = annotations.of(run)
    members = [name for name, group in given.groups.items() if group == label] or [label]
    scores = {node.label: value for node, value in circuit.scores.items()}
    if label in scores:
        st.metric("sum of its edges' scores" if circuit.edges else "score, where it was found", f"{scores[label]:.4g}")
    _directions(run, label)
    heads = [name for name in members if name in access.facts(q.model)["nodes"]]
    if heads:
        if st.button("Knock it out on held-out prompts", type="primary", icon=":material/content_cut:"):
            st.session_state["cut"] = (q, label)
        if st.session_state.get("cut") == (q, label):
            done = results.knocked_out(q, tuple(heads), "counterfactual")
            _said(f"Without {' + '.join(heads)} the metric loses", done.held, done.unit)
            if done.shrinkage is not None:
                st.caption(f"{done.shrinkage.value:.2f} [{done.shrinkage.low:.2f}, {done.shrinkage.high:.2f}] times "
                           "its effect where it was found.")
        state.link("explore", "Look at it in Explore", icon=":material/grid_on:", m=q.model, t=q.task, h=heads[0])
    with st.expander("Name and group", expanded=bool(given.names.get(label) or given.groups.get(label))):
        with cards.guarded("that name"):
            for name in members:
                given.call(name, st.text_input("Name", given.names.get(name, ""), key=f"name.{run}.{name}",
                                               placeholder=name))
                given.put(name, st.text_input("Group", given.groups.get(name, ""), key=f"group.{run}.{name}",
                                              help="Nodes of one group are drawn as one."))
            if st.button("Draw it so"):
                st.rerun()


def _said(text: str, lost: Estimate, unit: str) -> None:
    st.markdown(f"{text} **{lost.value:.3g}** [{lost.low:.3g}, {lost.high:.3g}] {unit} on {lost.n} held-out prompts.")


def _directions(run: str, label: str) -> None:
    """Both directions as they were measured when it was tested, for the leading members."""
    table = folders.table(run, "directions")
    if table is None or label not in set(table["node"]):
        return
    row = table.set_index("node").loc[label]
    st.caption(f"Removed alone: {row['noising']:.3g} [{row['noising_low']:.3g}, {row['noising_high']:.3g}]. Restored "
               f"alone: {row['denoising']:.3g} [{row['denoising_low']:.3g}, {row['denoising_high']:.3g}].")
