"""Help: words, keys, colours."""

import pandas as pd
import streamlit as st

from apps.dashboard import state, theme, views

GLOSSARY = {
    "Clean and corrupted prompt": "Two prompts of the same length, token by token, that differ only in what the task "
                                  "is about, so that the right answer changes.",
    "Metric": "One number a prompt, larger for more of the behaviour: mostly the logit of the right answer minus that "
              "of the wrong one.",
    "Node": "A head (L2H5 is head 5 of layer 2), an MLP (MLP2) or a mixer without heads (MIX2).",
    "Edge": "What one node writes and another reads, as query (q), key (k), value (v) or input (in).",
    "Effect": "Metric of the clean run minus metric with the node put at its baseline. Above zero: the node helps.",
    "Knock out": "Put a node at its baseline: its value on the corrupted prompt, its mean, zero, or other prompts' "
                 "values.",
    "Gradient estimate": "The effect as one backward pass foretells it: fast, good for heads, poor where attention is "
                         "saturated.",
    "Direct": "The part that reaches the answer through no other node.",
    "Discover, select, test": "Three parts of the prompts that share nothing: scores come from the first, the size of "
                              "the circuit from the second, the evidence from the third.",
    "Shrinkage": "Effect on test prompts divided by the effect where the node was picked. Picking the largest of many "
                 "picks luck too; below 1 says how much.",
    "Interval": "95 % bootstrap over prompts: where the number would lie if the prompts were drawn again.",
    "Circuit": "The smallest set of nodes, or edges, whose faithfulness stays within 0.8 and 1.2 on select prompts.",
    "Faithfulness": "What the circuit alone keeps of the metric, everything else at the corrupted prompt's values: 1 "
                    "is all of it, 0 none.",
    "Necessity": "The share of the behaviour that removing the circuit takes away.",
    "Random control": "Other circuits of the same size; p is the share of them that is as near to 1.",
    "Noising and denoising": "Removing one node from the whole, and restoring one alone. The first hides backups, the "
                             "second hides nodes that only work together.",
    "Implicit mixing": "How a mixer without attention (a state space, a convolution) moves information between "
                       "positions, as a matrix. It is not attention.",
}
KEYS = [
    ("Arrows", "move in a grid that was clicked or reached with Tab"),
    ("Tab, Enter", "go through tokens, nodes and edges, and choose one"),
    ("Esc", "lets go of the selection"),
    ("R", "draws the page again"),
    ("Hover", "shows the number behind a cell, token, node or edge"),
]


def page() -> None:
    """Draw the page."""
    st.title("Help")
    words, rest = st.columns([3, 2])
    with words:
        st.subheader("Words")
        for word, meaning in GLOSSARY.items():
            st.markdown(f"**{word}.** {meaning}")
    with rest:
        st.subheader("Keys")
        views.table("keys", pd.DataFrame(KEYS, columns=["key", "does"]))
        st.subheader("Colours and shapes")
        views.strip("colour-key", ["lowers", "a little", "nothing", "a little", "raises"], [-1, -0.4, 0, 0.4, 1],
                    label="colour key", legend=False)
        st.markdown("Blue raises the metric, orange lowers it, the page's own colour is exactly zero, grey was not "
                    "measured. Heads are round, MLPs square, other sites pointed; dashed edges lower the metric. "
                    "A dark outline marks members of a circuit, a yellow one the selection.")
        c = theme.colours()
        st.caption(f"Blue {c['up']}, orange {c['down']}: told apart by people with red-green blindness.")
        st.subheader("Links")
        st.markdown("The address holds all that you see. These are its keys:")
        views.table("url-keys", pd.DataFrame(
            [{"key": key.name, "what": key.about, "default": str(key.default)} for key in state.KEYS.values()]),
            height=320)
