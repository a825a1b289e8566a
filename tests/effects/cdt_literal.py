"""The decomposed rule sets written out for GPT-2 and BERT, one source at a time, in plain loops over layers and heads.

Slow and explicit on purpose: the oracle of `interp.effects.decomposed`. Formulas: Hsu 2024 (2407.00886) and its code,
with irrelevant := total - relevant (two-pass variance, the model's epsilon, the complement of the bias), and
separately the authors' own arithmetic, which carries both parts and loses what their tolerances lose.
"""

import torch
from torch import Tensor

from interp.hooks import Source

NORMALISED = ("mlp.hook_pre", "hook_mlp_out", "hook_resid_post")


class Literal:
    """Formulas of one rule set; `sites` fills with (total, relevant) as the forward below goes on."""

    def __init__(self, rules: str, sources: list[Source], base: dict[str, Tensor]):
        self.shapley = rules == "local-shapley"
        self.tol, self.eps = (1e-8, 1e-8) if rules == "cdt-published" else (0.0, None)
        self.sources, self.base = sources, base
        self.sites: dict[str, tuple[Tensor, Tensor]] = {}

    # -- sites ----------------------------------------------------------------------------------------------------

    def at(self, name: str, t: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """A site: sources here become relevant (total minus baseline), then signs are normalised, then it is read."""
        for source in self.sources:
            if source.site == name:
                part = t - self.base.get(name, torch.zeros_like(t))
                r = torch.where(here(source, t), torch.where(torch.isfinite(t), part, 0), r)  # masks are nobody's
        if not self.shapley and name.endswith(NORMALISED):
            r = self.larger_takes_all(t, r)
        self.sites[name] = t, r
        return t, r

    def larger_takes_all(self, t: Tensor, r: Tensor) -> Tensor:
        i = t - r
        out = r.clone()
        out[(r * i < 0) & (r.abs() > i.abs())] = t[(r * i < 0) & (r.abs() > i.abs())]
        out[(r * i < 0) & (r.abs() <= i.abs())] = 0
        return out

    # -- operations -----------------------------------------------------------------------------------------------

    def bias(self, b: Tensor, a: Tensor, c: Tensor) -> Tensor:
        """The share of b that goes with the part of magnitude |a| against |c|; 0/0 is irrelevant."""
        if self.shapley:
            return torch.zeros_like(a)
        size = a.abs() + c.abs() + self.tol
        return torch.where(size == 0, 0, b * a.abs() / torch.where(size == 0, 1, size))

    def linear(self, t: Tensor, r: Tensor, weight: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """`weight` is [in, out]."""
        a, c = r @ weight, (t - r) @ weight
        return t @ weight + b, a + self.bias(b, a, c)

    def norm(self, t: Tensor, r: Tensor, module, name: str) -> tuple[Tensor, Tensor]:
        eps = module.eps if self.eps is None else self.eps
        width = t.shape[-1]
        centred = t - t.sum(-1, keepdim=True) / width
        scale = (centred.square().sum(-1, keepdim=True) / width + eps).sqrt()
        self.at(f"{name}.hook_scale", scale, torch.zeros_like(scale))
        normal = centred / scale, (r - r.sum(-1, keepdim=True) / width) / scale
        n_t, n_r = self.at(f"{name}.hook_normalized", *normal)
        return n_t * module.weight + module.bias, n_r * module.weight + self.bias(module.bias, r, t - r)

    def nonlinear(self, f, t: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        rest = f(t) - f(t - r)
        return f(t), (rest + f(r) - f(torch.zeros_like(r))) / 2 if self.shapley else rest

    def attention(self, q, k, v, mask: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """q, k, v are pairs [batch, pos, head, d]; `mask` [query, key] is 0 or -inf."""
        size = q[0].shape[-1] ** 0.5
        dots = lambda a, b: torch.einsum("bqhd,bkhd->bhqk", a, b) / size  # noqa: E731
        total = dots(q[0], k[0])
        t, r = self.at(f"{name}.hook_attn_scores", total + mask, torch.where(mask == 0, dots(q[1], k[1]), 0))
        i = dots(q[0] - q[1], k[0] - k[1]) + mask
        for source in self.sources:
            if source.site == f"{name}.hook_attn_scores":
                i = torch.where(here(source, t), t - r, i)
        # the softmax of no scores is uniform; where nothing of a source arrives, nothing of the pattern is its
        arrived = any((part != 0).any() for part in (q[1], k[1], v[1], r))
        p, p_r = self.at(f"{name}.hook_pattern", softmax(t), softmax(r + mask) if arrived else torch.zeros_like(t))
        p_i = softmax(i)
        for source in self.sources:
            if source.site == f"{name}.hook_pattern":
                p_i = torch.where(here(source, p), p - p_r, p_i)
        z = torch.zeros_like(v[0])
        z_r = torch.zeros_like(v[0])
        for h in range(v[0].shape[2]):
            v_t, v_r = v[0][:, :, h], v[1][:, :, h]
            z[:, :, h] = p[:, h] @ v_t
            z_r[:, :, h] = p_r[:, h] @ v_r
            if self.shapley:
                z_r[:, :, h] = (z_r[:, :, h] + z[:, :, h] - p_i[:, h] @ (v_t - v_r)) / 2
        return self.at(f"{name}.hook_z", z, z_r)


def here(source: Source, value: Tensor) -> Tensor:
    """True on the source's part of a site [batch, pos, head, d] or [batch, head, query, key] or [batch, pos, d]."""
    mask = torch.zeros(value.shape, dtype=torch.bool)
    heads_first = source.site.endswith(("attn_scores", "pattern"))
    head = slice(None) if source.head is None else source.head
    pos = slice(None) if source.pos is None else source.pos
    if heads_first:
        mask[:, head, pos] = True
    elif value.dim() == 4:
        mask[:, pos, head] = True
    else:
        mask[:, pos] = True
    return mask


def softmax(x: Tensor) -> Tensor:
    e = torch.exp(x - x.max(-1, keepdim=True).values)
    return e / e.sum(-1, keepdim=True)


def causal(n: int) -> Tensor:
    """[query, key]: 0 where the key is not later, else -inf."""
    mask = torch.zeros(n, n, dtype=torch.float64)
    for query in range(n):
        mask[query, query + 1 :] = float("-inf")
    return mask


def heads(pair, n: int):
    return tuple(x.reshape(*x.shape[:2], n, -1) for x in pair)


def add(a, b):
    return a[0] + b[0], a[1] + b[1]


def gpt2(module, ids: Tensor, rules: str, sources: list[Source], base: dict[str, Tensor]) -> dict:
    """{site: (total, relevant)} of `GPT2LMHeadModel`, weights [in, out]."""
    L, body, n = Literal(rules, sources, base), module.transformer, module.config.n_head
    token = L.at("hook_embed", *nothing(body.wte.weight[ids]))
    place = L.at("hook_pos_embed", *nothing(body.wpe.weight[: ids.shape[1]][None]))
    x = add(token, place)
    for d, block in enumerate(body.h):
        at = f"blocks.{d}"
        x = L.at(f"{at}.hook_resid_pre", *x)
        normal = L.norm(*x, block.ln_1, f"{at}.ln1")
        width = x[0].shape[-1]
        qkv = []
        for j, letter in enumerate("qkv"):
            part = slice(j * width, (j + 1) * width)
            made = L.linear(*normal, block.attn.c_attn.weight[:, part], block.attn.c_attn.bias[part])
            qkv.append(L.at(f"{at}.attn.hook_{letter}", *heads(made, n)))
        z = L.attention(*qkv, causal(ids.shape[1]), f"{at}.attn")
        joined = tuple(v.flatten(2) for v in z)
        out = L.at(f"{at}.hook_attn_out", *L.linear(*joined, block.attn.c_proj.weight, block.attn.c_proj.bias))
        x = L.at(f"{at}.hook_resid_mid", *add(x, out))
        normal = L.norm(*x, block.ln_2, f"{at}.ln2")
        pre = L.at(f"{at}.mlp.hook_pre", *L.linear(*normal, block.mlp.c_fc.weight, block.mlp.c_fc.bias))
        post = L.at(f"{at}.mlp.hook_post", *L.nonlinear(block.mlp.act, *pre))
        out = L.at(f"{at}.hook_mlp_out", *L.linear(*post, block.mlp.c_proj.weight, block.mlp.c_proj.bias))
        x = L.at(f"{at}.hook_resid_post", *add(x, out))
    normal = L.norm(*x, body.ln_f, "ln_final")
    L.at("output", normal[0] @ module.lm_head.weight.T, normal[1] @ module.lm_head.weight.T)
    return L.sites


def bert(module, ids: Tensor, rules: str, sources: list[Source], base: dict[str, Tensor]) -> dict:
    """{site: (total, relevant)} of `BertForMaskedLM` (post-norm), weights [out, in]."""
    L, body, n = Literal(rules, sources, base), module.bert, module.config.num_attention_heads
    stem = body.embeddings
    token = L.at("hook_embed", *nothing(stem.word_embeddings.weight[ids]))
    place = L.at("hook_pos_embed", *nothing(stem.position_embeddings.weight[: ids.shape[1]][None]))
    kind = L.at("hook_token_type_embed", *nothing(stem.token_type_embeddings.weight[torch.zeros_like(ids)]))
    x = L.norm(*add(add(token, kind), place), stem.LayerNorm, "embed_ln")
    mask = torch.zeros(ids.shape[1], ids.shape[1], dtype=torch.float64)
    for d, block in enumerate(body.encoder.layer):
        at, own, mlp = f"blocks.{d}", block.attention.self, block.output
        x = L.at(f"{at}.hook_resid_pre", *x)
        qkv = []
        for letter, layer in (("q", own.query), ("k", own.key), ("v", own.value)):
            made = heads(L.linear(*x, layer.weight.T, layer.bias), n)
            qkv.append(L.at(f"{at}.attn.hook_{letter}", *made))
        z = L.attention(*qkv, mask, f"{at}.attn")
        dense = block.attention.output.dense
        joined = tuple(v.flatten(2) for v in z)
        out = L.at(f"{at}.hook_attn_out", *L.linear(*joined, dense.weight.T, dense.bias))
        x = L.at(f"{at}.hook_resid_mid", *L.norm(*add(out, x), block.attention.output.LayerNorm, f"{at}.ln1"))
        dense = block.intermediate.dense
        pre = L.at(f"{at}.mlp.hook_pre", *L.linear(*x, dense.weight.T, dense.bias))
        post = L.at(f"{at}.mlp.hook_post", *L.nonlinear(block.intermediate.intermediate_act_fn, *pre))
        out = L.at(f"{at}.hook_mlp_out", *L.linear(*post, mlp.dense.weight.T, mlp.dense.bias))
        x = L.at(f"{at}.hook_resid_post", *L.norm(*add(out, x), mlp.LayerNorm, f"{at}.ln2"))
    head = module.cls.predictions
    x = L.linear(*x, head.transform.dense.weight.T, head.transform.dense.bias)
    x = L.nonlinear(head.transform.transform_act_fn, *x)
    x = L.norm(*x, head.transform.LayerNorm, "head")
    L.at("output", *L.linear(*x, head.decoder.weight.T, head.decoder.bias))
    return L.sites


def nothing(t: Tensor) -> tuple[Tensor, Tensor]:
    return t, torch.zeros_like(t)


class Authors:
    """The published arithmetic (CD_Circuit, cdt_source_to_target): both parts carried, one-pass variance of their sum,
    epsilon 1e-8, and a bias share that loses b tol / (|a| + |c| + tol)."""

    TOL = EPS = 1e-8

    def linear(self, r, i, weight, b):
        a, c = r @ weight, i @ weight
        size = a.abs() + c.abs() + self.TOL
        return a + b * a.abs() / size, c + b * c.abs() / size

    def norm(self, r, i, module):
        t = r + i
        scale = 1 / torch.sqrt((t**2).mean(-1, keepdim=True) - t.mean(-1, keepdim=True) ** 2 + self.EPS)
        size = r.abs() + i.abs() + self.TOL

        def part(x):
            return (x - x.mean(-1, keepdim=True)) * scale * module.weight + module.bias * x.abs() / size

        return part(r), part(i)

    def normalise(self, r, i):
        r, i = r.clone(), i.clone()
        up, down = (r * i < 0) & (r.abs() > i.abs()), (r * i < 0) & (r.abs() <= i.abs())
        r[up], i[up] = (r + i)[up], 0.0
        i[down], r[down] = (r + i)[down], 0.0
        return r, i


def authors_gpt2(module, ids: Tensor, source: Source, mu: Tensor | None) -> dict[str, tuple[Tensor, Tensor]]:
    """{site: (relevant, irrelevant)} of one `hook_z` source in the authors' arithmetic; `mu` is the mean put in its
    place ("mean" mode), None for "zero" mode."""
    A, body, n = Authors(), module.transformer, module.config.n_head
    sites = {}
    i = body.wte.weight[ids] + body.wpe.weight[: ids.shape[1]]
    r, mask = torch.zeros_like(i), causal(ids.shape[1])
    for d, block in enumerate(body.h):
        at, width = f"blocks.{d}", i.shape[-1]
        normal = A.norm(r, i, block.ln_1)
        qkv = []
        for j in range(3):
            part = slice(j * width, (j + 1) * width)
            made = A.linear(*normal, block.attn.c_attn.weight[:, part], block.attn.c_attn.bias[part])
            qkv.append(heads(made, n))
        (q_r, q_i), (k_r, k_i), (v_r, v_i) = qkv
        dots = lambda a, b: torch.einsum("bqhd,bkhd->bhqk", a, b) / (width // n) ** 0.5 + mask  # noqa: E731, B023
        p, p_r = softmax(dots(q_r + q_i, k_r + k_i)), softmax(dots(q_r, k_r))
        z = torch.einsum("bhqk,bkhd->bqhd", p, v_r + v_i)
        z_r = torch.einsum("bhqk,bkhd->bqhd", p_r, v_r)
        z_i = z - z_r
        if source.site == f"{at}.attn.hook_z":
            where = here(source, z)
            fill = torch.zeros_like(z) if mu is None else mu.expand_as(z)
            z_r, z_i = torch.where(where, z_r + z_i - fill, z_r), torch.where(where, fill, z_i)
        sites[f"{at}.attn.hook_z"] = z_r, z_i
        out = A.linear(z_r.flatten(2), z_i.flatten(2), block.attn.c_proj.weight, block.attn.c_proj.bias)
        sites[f"{at}.hook_attn_out"] = out
        r, i = r + out[0], i + out[1]
        sites[f"{at}.hook_resid_mid"] = r, i
        normal = A.norm(r, i, block.ln_2)
        pre = A.normalise(*A.linear(*normal, block.mlp.c_fc.weight, block.mlp.c_fc.bias))
        sites[f"{at}.mlp.hook_pre"] = pre
        act = block.mlp.act
        post = act(pre[0] + pre[1]) - act(pre[1]), act(pre[1])
        sites[f"{at}.mlp.hook_post"] = post
        out = A.normalise(*A.linear(*post, block.mlp.c_proj.weight, block.mlp.c_proj.bias))
        sites[f"{at}.hook_mlp_out"] = out
        r, i = A.normalise(r + out[0], i + out[1])
        sites[f"{at}.hook_resid_post"] = r, i
    normal = A.norm(r, i, body.ln_f)
    sites["output"] = tuple(x @ module.lm_head.weight.T for x in normal)
    return sites
