"""GPT-2 and Llama written out by hand from their weights, with every rule set as `.detach()` where it holds a value.

Each returns (logits, {site name: tensor on the path}); gradients of the logits at these tensors are what a rule set's
effects have to be. Rules: "tangent", "relp", "frozen". `direct` is a formula, not a gradient.
"""

import math

import torch
from torch.nn import functional as F


class Path(dict):
    """Tensors on the way to the output, by site name."""

    def keep(self, name: str, value: torch.Tensor) -> torch.Tensor:
        self[name] = value if value.requires_grad else value.requires_grad_()
        return self[name]


def layer_norm(x, weight, bias, eps, rules):
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    scale = scale if rules == "tangent" else scale.detach()
    return centred / scale * weight + bias


def rms_norm(x, weight, eps, rules):
    scale = (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    scale = scale if rules == "tangent" else scale.detach()
    return x / scale * weight


def ratio(function, x, rules):
    return function(x) if rules == "tangent" else x * (function(x) / x).detach()


def gelu_new(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + torch.exp(-x))


def causal_pattern(q, k, rules):
    n = q.shape[-2]
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    pattern = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1)
    return pattern.detach() if rules == "frozen" else pattern


def heads(x, n):
    return x.reshape(*x.shape[:2], n, -1).transpose(1, 2)


def gpt2(module, ids, rules):
    """x += attn(ln1 x); x += mlp(ln2 x); logits = ln_f(x) wte^T."""
    path, t, n = Path(), module.transformer, module.config.n_head
    embed = path.keep("hook_embed", t.wte.weight[ids].detach())
    position = path.keep("hook_pos_embed", t.wpe.weight[: ids.shape[1]].detach().expand_as(embed).clone())
    x = embed + position
    for i, block in enumerate(t.h):
        at = f"blocks.{i}."
        x = path.keep(at + "hook_resid_pre", x)
        read = layer_norm(x, block.ln_1.weight, block.ln_1.bias, block.ln_1.eps, rules)
        q, k, v = (read @ block.attn.c_attn.weight + block.attn.c_attn.bias).split(x.shape[-1], -1)
        q, v = path.keep(at + "attn.hook_q", q), path.keep(at + "attn.hook_v", v)
        z = causal_pattern(heads(q, n), heads(k, n), rules) @ heads(v, n)
        z = path.keep(at + "attn.hook_z", z.transpose(1, 2).flatten(2))
        out = path.keep(at + "hook_attn_out", z @ block.attn.c_proj.weight + block.attn.c_proj.bias)
        x = path.keep(at + "hook_resid_mid", x + out)
        read = layer_norm(x, block.ln_2.weight, block.ln_2.bias, block.ln_2.eps, rules)
        pre = path.keep(at + "mlp.hook_pre", read @ block.mlp.c_fc.weight + block.mlp.c_fc.bias)
        post = path.keep(at + "mlp.hook_post", ratio(gelu_new, pre, rules))
        out = path.keep(at + "hook_mlp_out", post @ block.mlp.c_proj.weight + block.mlp.c_proj.bias)
        x = path.keep(at + "hook_resid_post", x + out)
    return layer_norm(x, t.ln_f.weight, t.ln_f.bias, t.ln_f.eps, rules) @ t.wte.weight.T, path


def rotate(x, theta: float):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * theta ** (-torch.arange(half) / half)
    cos, sin = torch.cos(angle).to(x), torch.sin(angle).to(x)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def llama(module, ids, rules):
    """x += attn(rms x); x += down(silu(gate) * up); grouped queries, rotary positions."""
    path, m, config = Path(), module.model, module.config
    theta = config.rope_parameters["rope_theta"]
    x = path.keep("hook_embed", m.embed_tokens.weight[ids].detach())
    for i, block in enumerate(m.layers):
        at, attn, mlp, eps = f"blocks.{i}.", block.self_attn, block.mlp, config.rms_norm_eps
        x = path.keep(at + "hook_resid_pre", x)
        read = rms_norm(x, block.input_layernorm.weight, eps, rules)
        q, k, v = (read @ w.weight.T for w in (attn.q_proj, attn.k_proj, attn.v_proj))
        q, v = path.keep(at + "attn.hook_q", q), path.keep(at + "attn.hook_v", v)
        n, kv = config.num_attention_heads, config.num_key_value_heads
        q, k, v = heads(q, n), heads(k, kv).repeat_interleave(n // kv, 1), heads(v, kv).repeat_interleave(n // kv, 1)
        z = causal_pattern(rotate(q, theta), rotate(k, theta), rules) @ v
        z = path.keep(at + "attn.hook_z", z.transpose(1, 2).flatten(2))
        x = path.keep(at + "hook_resid_mid", x + path.keep(at + "hook_attn_out", z @ attn.o_proj.weight.T))
        read = rms_norm(x, block.post_attention_layernorm.weight, eps, rules)
        pre = path.keep(at + "mlp.hook_pre", read @ mlp.gate_proj.weight.T)
        up = path.keep(at + "mlp.hook_pre_linear", read @ mlp.up_proj.weight.T)
        gate = ratio(silu, pre, rules)
        if rules == "tangent":
            post = gate * up
        elif rules == "frozen":
            post = gate.detach() * up
        else:
            post = 0.5 * gate.detach() * up + 0.5 * gate * up.detach()
        post = path.keep(at + "mlp.hook_post", post)
        x = path.keep(at + "hook_resid_post", x + path.keep(at + "hook_mlp_out", post @ mlp.down_proj.weight.T))
    return F.linear(rms_norm(x, m.norm.weight, config.rms_norm_eps, rules), module.lm_head.weight), path
