"""The drawing of a circuit of edges: every node once, lines by role, no more than can be told apart."""

from interp.results import Circuit, Edge, Node
from interp.results.graph_figure import ROLE_COLOURS

EMBED, OUTPUT = Node("hook_embed"), Node("output")
HEADS = [Node("blocks.0.attn.hook_z", head=h) for h in range(3)]
MLP = Node("blocks.1.hook_mlp_out")


def circuit(edges):
    return Circuit("m", "t", "auto", tuple(HEADS), dict.fromkeys(HEADS, 1.0), tuple(edges))


EDGES = [Edge(EMBED, HEADS[0], 2.0, "q"), Edge(EMBED, HEADS[0], -1.0, "v"), Edge(HEADS[0], MLP, 0.5, "in"),
         Edge(MLP, OUTPUT, 0.1, "in")]


def test_rows_rise_from_the_embedding_to_the_output_and_roles_have_colours():
    figure = circuit(EDGES).graph_figure()
    nodes = figure.data[-1]
    height = dict(zip(nodes.hovertext, nodes.y))
    assert height["hook_embed"] < height[HEADS[0].name] < height[MLP.name] < height["output"]
    lines = [t for t in figure.data if t.mode == "lines"]
    assert len(lines) == 4 and {t.line.color for t in lines} == {ROLE_COLOURS[r] for r in ("q", "v", "in")}
    widths = [t.line.width for t in lines]
    assert max(widths) == lines[0].line.width  # the query of score 2
    assert lines[0].x != lines[1].x  # two edges between the same nodes do not cover each other


def test_only_the_strongest_edges_are_drawn_and_the_title_says_so():
    many = [Edge(EMBED, Node("blocks.0.attn.hook_z", head=h), float(h + 1), "k") for h in range(40)]
    figure = circuit(many).graph_figure()
    assert len([t for t in figure.data if t.mode == "lines"]) == 40
    from interp.results.graph_figure import graph_figure

    few = graph_figure(circuit(many), most=10)
    assert len([t for t in few.data if t.mode == "lines"]) == 10
    assert "10 of 40" in few.layout.title.text


def test_the_frame_of_edges_ranks_members_first():
    frame = circuit(EDGES).edge_frame()
    assert frame["edge"].tolist()[0] == "hook_embed -> L0H0 (q)" and frame["rank"].tolist() == [1, 2, 3, 4]
    assert circuit(EDGES).edge_frame(candidates=True)["member"].all()
