"""Block transformer (6) and hierarchical autoregressive transformer (127)."""

import pytest
import torch

import interp
from interp.architectures import build
from interp.results.errors import BadInput
from tests.architectures.training import next_token_loss, repeated, train

SIZES = dict(d_model=32, n_layers=2, n_heads=4, d_vocab=50)
SPACE = 32


def _shaken(name: str, **sizes):
    model = build(name, seed=0, **SIZES | sizes).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def _tokens(n_pos: int = 18) -> torch.Tensor:
    tokens = torch.randint(0, 50, (3, n_pos), generator=torch.Generator().manual_seed(3))
    return torch.where(tokens == SPACE, SPACE + 1, tokens)


def _text() -> torch.Tensor:
    """Words of 4, 1, 5 and of 2, 2, 6 bytes, spaces included; then the beginning of another."""
    tokens = _tokens(14)[:2]
    tokens[0, [3, 4, 9]] = SPACE
    tokens[1, [1, 3, 9]] = SPACE
    return tokens


# -- 6 Block transformer ---------------------------------------------------------------------------------------------


def test_works_when_6_block_transformer_has_three_namespaces():
    names = [site.name for site in _shaken("block-transformer").sites()]
    assert {name.partition(".")[0] for name in names if "." in name} == {"encoder", "backbone", "decoder", "ln_final"}
    patterns = {"backbone.blocks.1.attn.hook_pattern", "decoder.blocks.0.attn.hook_pattern"}
    assert patterns | {"encoder.hook_unit"} <= set(names)


def test_works_when_6_block_transformer_backbone_affects_later_blocks_only():
    """Ablate the backbone at unit 1 (tokens 4 to 7): predictions of tokens 0 to 7 stay, those of the next unit change,
    and of later ones where a block of the backbone still follows."""
    model = _shaken("block-transformer")
    plain = model(_tokens())
    for site, last in (("backbone.blocks.0.hook_mlp_out", False), ("backbone.blocks.1.hook_attn_out", True)):
        with torch.no_grad(), model.edit(interp.Ablate(site, pos=1)):
            cut = model(_tokens())
        changed = (cut - plain).abs().amax((0, 2))
        assert changed[:7].max() < 1e-10 and changed[7:11].min() > 1e-6  # logits at p predict token p + 1
        assert (changed[11:].max() < 1e-10) == last


def test_block_transformer_equals_a_loop_over_blocks():
    """Literal: embed a block, run the backbone on what there is, decode the next block token by token by itself."""
    model, tokens = _shaken("block-transformer"), _tokens(16)
    module, found = model.module, []
    from interp.parts.context import Context

    with torch.no_grad():
        whole = model(tokens)
        for i in range(4):
            if i == 0:
                prefix = module.start.expand(3, -1, -1)
            else:
                x = torch.stack([module.embedder.embed(tokens[:, 4 * j: 4 * j + 4]).flatten(1) for j in range(i)], 1)
                for block in module.backbone:
                    x = block(x, Context(tokens[:, :i]))
                prefix = module.to_prefix(x[:, -1]).unflatten(-1, (2, 32))
            y = torch.cat([prefix, module.embed(tokens[:, 4 * i: 4 * i + 4])], 1)
            for block in module.decoder:
                y = block(y, Context(torch.zeros(3, 6, dtype=torch.long)))
            found.append(module.unembed(module.ln_final(y[:, 1:5])))  # predictions of the block's four tokens
    assert torch.allclose(torch.cat(found, 1)[:, 1:], whole[:, :15], atol=1e-10)


@pytest.mark.slow
def test_works_when_6_block_transformer_trains():
    """A copy eight tokens back, two blocks away: only the backbone can bring it (guessing costs 2.77 nats)."""
    model = build("block-transformer", seed=0, d_model=64, n_layers=2, n_heads=4, d_vocab=16)
    train(model, lambda m, g: next_token_loss(m, repeated(32, g, 8, 16), 7), 400)
    held = repeated(128, torch.Generator().manual_seed(7), 8, 16)
    with torch.no_grad():
        trained = next_token_loss(model, held, 7)
        with model.edit(*(interp.Ablate(s.name) for s in model.sites("backbone.*.attn.hook_z"))):
            cut = next_token_loss(model, held, 7)
    assert trained < 1.0 and cut > trained + 1.0


# -- 127 Hierarchical autoregressive transformer ---------------------------------------------------------------------


def test_works_when_127_hat_no_byte_sees_later_ones():
    """Words are encoded both ways, and still nothing leaks, for changes at every place and kind."""
    model, text = _shaken("hat"), _text()
    with torch.no_grad():
        plain = model(text)
        for at in range(1, 14):
            for new in (7, SPACE):
                other = text.clone()
                other[:, at:] = torch.where(other[:, at:] == new, new + 1, new)
                assert torch.allclose(model(other)[:, :at], plain[:, :at], atol=1e-10), (at, new)


def test_works_when_127_hat_word_vectors_are_hooked():
    model, text = _shaken("hat"), _text()
    _, cache = model.run_with_cache(text)
    assert cache["encoder.hook_unit"].shape == (2, 4, 32)
    assert cache["backbone.blocks.0.hook_resid_pre"].shape == (2, 4, 32)
    with torch.no_grad():
        plain = model(text)
        with model.edit(interp.Ablate("encoder.hook_unit", pos=1)):
            cut = (model(text) - plain).abs().amax(-1)
    # word 1 ends at byte 4 of the first prompt, 3 of the second; what it is shows in what follows
    for row, end in enumerate((4, 3)):
        assert cut[row, :end].max() < 1e-10 and cut[row, end:].min() > 1e-6


def test_works_when_127_hat_a_typo_is_repaired_at_its_word_vector():
    """What a changed byte does to later words passes through the encoder's vector of its word, all of it."""
    model, text = _shaken("hat"), _text()
    typo = text.clone()
    typo[:, 0] = (typo[:, 0] + 1) % SPACE
    with torch.no_grad():
        plain, broken = model(text), model(typo)
        vector = model.run_with_cache(text, "encoder.hook_unit")[1]["encoder.hook_unit"][:, 0]
        repaired = model.run_with_hooks(
            typo, [("encoder.hook_unit", lambda value, site: torch.cat([vector[:, None], value[:, 1:]], 1))])
    for row, end in enumerate((3, 1)):  # from the end of the first word on
        assert (broken[row, end:] - plain[row, end:]).abs().amax(-1).min() > 1e-6
        assert torch.allclose(repaired[row, end:], plain[row, end:], atol=1e-10)
        assert torch.allclose(repaired[row, :end], broken[row, :end], atol=1e-10)


def test_hat_words_and_places():
    model = _shaken("hat")
    unit, place, ends = model.module.embedder.units(_text())
    assert unit.tolist() == [[0] * 4 + [1] + [2] * 5 + [3] * 4, [0] * 2 + [1] * 2 + [2] * 6 + [3] * 4]
    assert place.tolist() == [[0, 1, 2, 3, 0, 0, 1, 2, 3, 4, 0, 1, 2, 3], [0, 1, 0, 1, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3]]
    assert ends.nonzero().tolist() == [[0, 3], [0, 4], [0, 9], [1, 1], [1, 3], [1, 9]]


def test_hat_rows_do_not_depend_on_each_other():
    """Rows with fewer words than others: the same as alone."""
    model, text = _shaken("hat"), _text()
    text[1] = 5
    text[1, 2] = SPACE
    with torch.no_grad():
        both = model(text)
        assert all(torch.allclose(both[row], model(text[row: row + 1])[0], atol=1e-10) for row in range(2))


def test_hat_equals_a_loop_over_words():
    """Literal: encode each word alone, run the backbone, decode each word alone."""
    from interp.parts.context import Context

    model, text = _shaken("hat"), _text()[:1]
    module, found = model.module, []
    words = [text[:, a:b] for a, b in ((0, 4), (4, 5), (5, 10), (10, 14))]
    with torch.no_grad():
        whole, vectors = model(text), []
        for i, word in enumerate(words):
            prefix = module.start[None]
            if i:
                x = torch.stack(vectors, 1)
                for block in module.backbone:
                    x = block(x, Context(text[:, :i]))
                prefix = module.to_prefix(x[:, -1:])
            y = torch.cat([prefix, module.embed(word)], 1)
            for block in module.decoder:
                y = block(y, Context(y[..., 0].long()))
            found.append(module.unembed(module.ln_final(y))[:, : word.shape[1]])
            e = torch.cat([module.embedder.word[None, None], module.embedder.embed(word)], 1)
            for block in module.embedder.blocks:
                e = block(e, Context(e[..., 0].long()))
            vectors.append(e[:, 0])
    assert torch.allclose(torch.cat(found, 1)[:, 1:], whole[:, :13], atol=1e-10)


@pytest.mark.parametrize(("name", "sizes", "message"), [
    ("block-transformer", {"unit": 5}, "no multiple of the 5 tokens"), ("hat", {"space": 60}, "does not have it"),
])
def test_sizes_that_do_not_fit_are_refused(name, sizes, message):
    with pytest.raises(BadInput, match=message):
        build(name, **SIZES | sizes)
