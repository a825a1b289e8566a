from hypothesis import given

from interp.programs.graph import ANSWER, ROLES, graph_figure, to_graph
from tests.programs.hand import either, induction
from tests.programs.random_programs import programs, random_program


def test_the_graph_of_an_induction_program():
    graph = to_graph(induction())
    assert dict(graph.edges) == {
        ("positions", "before"): {"roles": ("query", "key")},
        ("tokens", "before"): {"roles": ("value",)},
        ("tokens", "answer"): {"roles": ("query", "value")},
        ("before", "answer"): {"roles": ("key",)},
        ("answer", ANSWER): {"roles": ("readout",)},
    }
    assert dict(graph.nodes["before"]) == {"kind": "ClosestHead", "layer": 1, "size": 5}
    assert [graph.nodes[name]["layer"] for name in ("tokens", "answer", ANSWER)] == [0, 2, 3]
    assert either().to_graph().edges["before", "or"]["roles"] == ("second",)


@given(programs)
def test_edges_are_the_readings_and_point_forward(program):
    graph = to_graph(program)
    roles = [role for *_, held in graph.edges(data="roles") for role in held]
    assert len(roles) == sum(len(step.reads) for step in program.steps) + len(program.readout)
    assert set(roles) <= set(ROLES)
    order = [*program.variables, ANSWER]
    assert all(order.index(source) < order.index(target) for source, target in graph.edges)


def test_the_figure_shows_every_variable_and_role():
    program = random_program(7, layers=3, heads=3)
    figure = graph_figure(program)
    assert {note.text for note in figure.layout.annotations} == {*program.variables, ANSWER}
    graph = to_graph(program)
    for trace in figure.data[:-1]:
        drawn = sum(x is None for x in trace.x)
        assert drawn == sum(trace.name in held for *_, held in graph.edges(data="roles")) > 0
    places = {(note.x, note.y) for note in figure.layout.annotations}
    assert len(places) == len(figure.layout.annotations)
