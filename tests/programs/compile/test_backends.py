"""Causal or not, rotated, under norms, compressed, padded: what the capability table says, and the model's contract."""

from fractions import Fraction

import pytest
import torch

import interp.programs.compile as compiler
from interp.hooks.check import check_model
from interp.programs.compile import Compiled, capabilities, compile, inputs
from interp.programs.compile.basis import centred, orthogonal
from interp.programs.compile.capabilities import BACK_ENDS, EXACT, MEASURED, PROBES, REFUSED
from interp.programs.compile.inputs import drawn
from interp.programs.rasp import aggregate, indices, names, numerical, program, select_all, selector_width, tokens
from interp.results.errors import BadFile, BadInput

INEXACT = [{"rotate": 3}, {"norm": "layernorm"}, {"norm": "rmsnorm"}, {"norm": "layernorm", "rotate": 1}]
SENSITIVITY = {"changes", "gradient", "reaches"}


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_the_capability_table_is_what_the_compiler_does(back_end):
    table = capabilities()
    assert list(table.columns) == list(BACK_ENDS) and list(table.index) == list(PROBES)
    for primitive, probe in PROBES.items():
        options, says = dict(BACK_ENDS[back_end]), table.loc[primitive, back_end]
        if says == REFUSED:
            options.pop("compress", None)
            with pytest.raises(BadInput, match="aggregate|sum"):  # the construct by its name
                compile(probe(), "ab", 4, **options)
            continue
        if options.get("compress") == "rank":
            options["compress"] = compile(probe(), "ab", 4).rank()
        compiled = compile(probe(), "ab", 4, **options)
        check = compiled.verify()
        assert check.ok, (primitive, check.examples)
        if says == EXACT:
            assert check.error < 1e-6 and compiled.floor == 0.0, primitive
        else:
            assert says == MEASURED and check.error < 0.05 and check.error <= 2 * compiled.floor + 1e-6, primitive


@pytest.mark.parametrize("options", INEXACT, ids=str)
@pytest.mark.parametrize("name", ["hist", "sort", "shuffle_dyck", "most_freq", "induction"])
def test_library_in_the_other_back_ends_on_all_inputs(name, options):
    compiled = compile(name, length=4, **options)
    check = compiled.verify()
    assert check.ok and min(check.margins.values()) > 0.25 and 0 < check.error < 0.01
    assert compiled.floor >= compiled.check.error


def test_double_precision_leaks_less():
    coarse, fine = (compile("hist", length=4, norm="layernorm", rotate=0, dtype=dtype)
                    for dtype in (torch.float32, torch.float64))
    assert fine.floor < 1e-3 * coarse.floor
    assert fine.model.dtype == torch.float64


def test_a_stream_keeps_its_program_down_to_its_rank():
    """Every categorical variable that always has a value costs one dimension less than it has values."""
    plain = compile("hist", length=4)
    rank, full = plain.rank(), plain.parts.basis.d_model
    # the four tokens sum to `here`, and so do the four counts (a count of 0 never occurs)
    assert (rank, full) == (10, 2 + 4 + 1 + 5)
    for compress in (rank, rank + 1):
        assert compile("hist", length=4, compress=compress).verify().ok
    crowded = compile("hist", length=4, compress=rank - 3)
    assert crowded.verify().wrong > 0 and "WRONG" in repr(crowded) and crowded.margin < 0 < crowded.floor
    assert compile("hist", length=4, compress=rank, norm="layernorm", rotate=0).verify().ok
    random = compile("hist", length=4, compress=full, compression="random", seed=1)
    assert random.verify().ok
    with pytest.raises(BadInput, match="from 1 to 12"):
        compile("hist", length=4, compress=13)


def test_rotations_are_orthogonal_and_centred_columns_sum_to_zero():
    for n in (2, 5, 9):
        assert torch.allclose(orthogonal(n, 0) @ orthogonal(n, 0).T, torch.eye(n).double(), atol=1e-12)
        for seed in (None, 0):
            columns = centred(n, seed)
            assert torch.allclose(columns.T @ columns, torch.eye(n - 1).double(), atol=1e-12)
            assert columns.sum(0).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["hist", "reverse", "shift", "induction", "shuffle_dyck"])
def test_padding_and_larger_heads_change_nothing(name):
    compiled = compile(name, length=5)
    rows = drawn(compiled.graph.vocab, 5, 12, 0)
    padded = compiled.encode(*rows)
    together = compiled.model(padded)
    alone_ids = torch.cat([padded["input_ids"], torch.full((12, 0), 0)], 1)
    assert torch.equal(compiled.model(alone_ids), together), "padding is known by its id, without a mask too"
    for row, out in zip(rows, together):
        assert torch.allclose(out[: len(row) + 1], compiled.model(compiled.encode(row))[0], atol=1e-6)
    answers = compiled.decode(together, [len(row) for row in rows])
    assert [len(row) for row in answers] == [len(row) for row in rows]
    needed = compiled.parts.module.sizes.d_head
    wide = compile(name, length=5, d_head=2 * needed + 3)
    assert wide.parts.module.sizes.d_head == 2 * needed + 3
    assert torch.allclose(wide.model(padded), together, atol=1e-6)
    with pytest.raises(BadInput, match=f"need {needed}"):
        compile(name, length=5, d_head=needed - 1)


def test_the_same_seed_gives_the_same_weights():
    one, two, other = (compile("reverse", length=4, rotate=seed, norm="rmsnorm") for seed in (0, 0, 1))
    weights = [compiled.parts.module.unembed.weight for compiled in (one, two, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.allclose(weights[0], weights[2])


@pytest.mark.parametrize("options", [o for o in INEXACT if o.get("norm") != "rmsnorm"], ids=str)
@pytest.mark.parametrize("name", ["hist", "reverse", "most_freq", "shuffle_dyck", "induction"])
def test_the_contract_holds_where_variables_leak(name, options):
    compiled = compile(name, length=5, **options)
    check_model(compiled.model, compiled.encode(*drawn(compiled.graph.vocab, 5, 12, 1, 5))).raise_if_failed()


@pytest.mark.parametrize("options", [{}, {"dtype": torch.float64}, {"distractors": ("count", "detect")},
                                     {"norm": "rmsnorm"}], ids=str)
@pytest.mark.parametrize("name", names())
def test_the_contract_holds_where_everything_is_exact(name, options):
    """Everything but sensitivity: tables are flat around every value and softmax is saturated, so that behind two of
    them small changes come to exactly nothing (and so does the little that a held norm moves). What is *declared*
    unused or inert is so."""
    compiled = compile(name, length=5, **options)
    check = check_model(compiled.model, compiled.encode(*drawn(compiled.graph.vocab, 5, 12, 1, 5)))
    assert not [row for row in check.failures if row.law not in SENSITIVITY or "declared" in row.note.split("not")[0]]
    if name in ("hist", "count", "shift", "frac_prevs", "detect") and not {"distractors", "norm"} & set(options):
        assert check.ok, check.failures


def test_branches_of_distractors_are_declared_idle():
    compiled = compile("shift", "abcd", 4, distractors=("reverse",))
    assert set(compiled.model.map.unused_parameters) == {
        "blocks.0.mlp.up", "blocks.1.mlp.up", *(f"blocks.2.attn.{letter}" for letter in "qkv")}


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"norm": "layernorm", "rotate": 0, "distractors": ("detect",)},
                                     {"dtype": torch.float64, "causal": True}], ids=str)
def test_saved_and_loaded_it_is_the_same(options, tmp_path):
    what = numerical(selector_width(select_all())) / 3 if options.get("causal") else "sort"
    compiled = compile(what, (1, 2, 3), 4, name="mine", **options)
    again = Compiled.load(compiled.save(tmp_path / "k"))
    x = compiled.encode((1, 3, 2, 1), (2, 1, 1, 3))
    assert torch.equal(again.model(x), compiled.model(x)) and again.model.dtype == compiled.model.dtype
    assert (again.graph, again.options, again.truth, again.name) == (
        compiled.graph, compiled.options, compiled.truth, "mine")
    assert (again.floor, again.margin, again.negatives) == (compiled.floor, compiled.margin, compiled.negatives)
    assert again.run((3, 2, 1)) == compiled.run((3, 2, 1)) and again.verify().ok
    assert type(again.truth).load(tmp_path / "k" / "truth.json") == compiled.truth


def test_damaged_files_are_named_as_such(tmp_path):
    path = compile("hist", length=3).save(tmp_path / "k")
    text = (path / "program.json").read_text()
    for broken in ("", text[:-30], "[]", text.replace("interp.compiled/1", "interp.compiled/9"),
                   text.replace('"steps"', '"exec"'), text.replace('"length": 3', '"length": 4'),
                   text.replace('"reads"', '"writes"'), text.replace('"out": 2', '"out": 9')):
        assert broken != text
        (path / "program.json").write_text(broken)
        with pytest.raises(BadFile, match="program.json"):
            Compiled.load(path)
    (path / "program.json").write_text(text)
    (path / "model.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(BadFile, match="model.safetensors"):
        Compiled.load(path)


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED_CALLS = {
    "unknown program": (lambda: compile("histogram"), "no program is called"),
    "no vocabulary": (lambda: compile(tokens == "a"), "vocabulary"),
    "token twice": (lambda: compile("hist", "aba"), "different tokens"),
    "no length": (lambda: compile("hist", length=0), "at least 1"),
    "unknown norm": (lambda: compile("hist", norm="batchnorm"), "layernorm"),
    "half precision": (lambda: compile("hist", dtype=torch.float16), "float32 or"),
    "unknown compression": (lambda: compile("hist", compress=9, compression="pca"), "learned and random"),
    "nothing to compute": (lambda: compile(indices, "ab", 3), "only reads its input"),
    "no program": (lambda: compile(len, "ab", 3), "no program"),
    "several values": (lambda: compile(aggregate(select_all(), tokens), "ab", 3), "aggregate.tokens. is a categorical"),
    "causal reverse": (lambda: compile(aggregate(select_all(), program("reverse")), "ab", 3), "different values"),
    "unknown token": (lambda: compile("hist", "ab").run("abc"), "no token"),
    "too long": (lambda: compile("hist", "ab", 3).run("abab"), "1 to 3"),
    "empty": (lambda: compile("hist", "ab", 3).run(""), "1 to 3"),
    "too fine for float32": (lambda: compile(
        1 + aggregate(select_all(), numerical(tokens)) / 10**7 > 1 + Fraction(2, 5 * 10**7), (0, 1), 3), "float64"),
}


@pytest.mark.parametrize(("what", "says"), REFUSED_CALLS.values(), ids=REFUSED_CALLS.keys())
def test_what_cannot_be_compiled_is_refused_by_name(what, says):
    with pytest.raises(BadInput, match=says):
        what()


def test_inputs_to_check_on():
    assert inputs.count("ab", 3) == 14 == len(set(inputs.every("ab", 3)))
    ends = set(inputs.extremes("abc", 4))
    assert {("a",) * 4, tuple("baaa"), tuple("aaba"), tuple("aaab")} <= ends and all(len(row) == 4 for row in ends)
    assert inputs.drawn("abc", 9, 50, 0) == inputs.drawn("abc", 9, 50, 0) != inputs.drawn("abc", 9, 50, 1)
    assert {len(row) for row in inputs.drawn("abc", 9, 200, 0, 7)} == {7, 8, 9}
    many = inputs.some("abcd", 10, None, 0)
    assert 1_000 < len(many) <= 3_000 and len(set(many)) == len(many) and ("d",) * 10 in many


def test_the_package_is_called_like_its_function():
    assert compiler("hist", vocab="abcd", length=5).run(list("abac")) == [2, 1, 2, 1]
    assert compiler.capabilities is capabilities
