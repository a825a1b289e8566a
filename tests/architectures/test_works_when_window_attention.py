"""Window attentions as masks over the whole image: each against its own definition, place by place."""

import math

import pytest
import torch
from torch.nn import functional as F

from interp import Ablate, Patch
from interp.architectures import build
from interp.parts.bi_level import Routed
from interp.parts.cross_scale import CrossScale, Groups
from interp.parts.grid_attention import GridAttention, LocalConv
from interp.parts.manhattan import AxialDecay, Manhattan
from interp.parts.neighbourhood import Neighbourhood, nearest
from interp.parts.spec import Spec
from interp.parts.stripes import StripeConv, Stripes
from interp.results.errors import BadInput

PLACE = [(i, j) for i in range(8) for j in range(8)]


def _images(side: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _shaken(name: str, image: int = 32, **sizes):
    """A member in float64, its weights moved so that no gain is 1 and no bias 0; and its cache."""
    model = build(name, seed=0, image=image, **sizes).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model, model.run_with_cache(_images(image))[1]


def _seen(pattern: torch.Tensor, query: tuple[int, int]) -> set[tuple[int, int]]:
    """Places of an 8 x 8 image that a query looks at, of a pattern [query, key]."""
    return {PLACE[key] for key in pattern[PLACE.index(query)].nonzero().flatten().tolist()}


# -- DiNAT ------------------------------------------------------------------------------------------------------------


def test_works_when_104_dinat_each_query_sees_exactly_k_times_k_dilated_neighbours():
    _, cache = _shaken("dinat")
    for depth in range(4):
        assert set((cache[f"blocks.{depth}.attn.hook_pattern"] > 0).sum(-1).flatten().tolist()) == {9}
    plain, dilated = (cache[f"blocks.{d}.attn.hook_pattern"][0, 0] for d in (0, 1))
    assert _seen(plain, (3, 4)) == {(i, j) for i in (2, 3, 4) for j in (3, 4, 5)}
    assert _seen(plain, (0, 7)) == {(i, j) for i in (0, 1, 2) for j in (5, 6, 7)}
    assert _seen(dilated, (3, 4)) == {(i, j) for i in (1, 3, 5) for j in (2, 4, 6)}
    assert _seen(dilated, (0, 7)) == {(i, j) for i in (0, 2, 4) for j in (3, 5, 7)}


@pytest.mark.parametrize("length, size, dilation", [(8, 3, 1), (8, 3, 2), (7, 3, 2), (11, 5, 2), (11, 3, 3), (5, 5, 1)])
def test_neighbours_are_the_nearest_of_their_residue(length, size, dilation):
    """By sorting: of the same residue, the `size` at the least distance to the window's clamped middle."""
    sees, offset = nearest(length, size, dilation)
    for query in range(length):
        own = [key for key in range(length) if key % dilation == query % dilation]
        middle = min(max(own.index(query), size // 2), len(own) - 1 - size // 2)
        wanted = sorted(sorted(own, key=lambda key: abs(key - own[middle]))[:size])
        assert sees[query].nonzero().flatten().tolist() == wanted
        assert [int(offset[query, key]) * dilation for key in wanted] == [key - query for key in wanted]


def test_neighbourhood_attention_gathers_its_keys():
    """Query by query over gathered keys, with the table read at (key - query) / dilation."""
    places = Neighbourhood(2, 3, 2)
    attn = GridAttention(8, 2, places).double()
    torch.nn.init.normal_(places.table, generator=torch.Generator().manual_seed(1))
    x = torch.randn(1, 64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        q, k, v = (project(x).view(8, 8, 2, 4) for project in (attn.q, attn.k, attn.v))
        z = torch.zeros(8, 8, 2, 4, dtype=torch.float64)
        for i, j in PLACE:
            rows, columns = ([c for c in range(at % 2, 8, 2)] for at in (i, j))
            rows, columns = (line[max(0, min(line.index(at) - 1, 1)):][:3] for line, at in ((rows, i), (columns, j)))
            for h in range(2):
                keys = [(a, b) for a in rows for b in columns]
                scores = torch.stack([q[i, j, h] @ k[a, b, h] / 2 + places.table[h, (a - i) // 2 + 2, (b - j) // 2 + 2]
                                      for a, b in keys])
                z[i, j, h] = torch.softmax(scores, 0) @ torch.stack([v[a, b, h] for a, b in keys])
        assert torch.allclose(attn(x, None), attn.o(z.view(1, 64, 8)), atol=1e-10)


def test_a_neighbourhood_of_everything_is_full_attention():
    attn = GridAttention(8, 2, Neighbourhood(2, 5)).double()
    x = torch.randn(1, 25, 8, dtype=torch.float64)
    q, k, v = (project(x).unflatten(-1, (2, 4)).transpose(1, 2) for project in (attn.q, attn.k, attn.v))
    wanted = attn.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    assert torch.allclose(attn(x, None), wanted, atol=1e-10)


def test_neighbourhoods_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match="need 10 places along a side; there are 8"):
        build("dinat", neighbours=5)(_images().float())
    with pytest.raises(BadInput, match="must be odd"):
        build("dinat", neighbours=4)
    with pytest.raises(BadInput, match="multiple of patch 4 times 2"):
        build("dinat", image=36)


# -- RMT --------------------------------------------------------------------------------------------------------------


def test_works_when_82_rmt_bias_is_log_gamma_times_the_manhattan_distance():
    _, cache = _shaken("rmt", image=64)
    for h, gamma in enumerate([1 - 2**-2, 1 - 2**-3, 1 - 2**-4, 1 - 2**-5]):  # the second stage: 8 x 8, 4 heads
        apart = torch.tensor([[abs(a - i) + abs(b - j) for a, b in PLACE] for i, j in PLACE]).double()
        assert torch.allclose(cache["blocks.2.attn.hook_bias"][0, h], math.log(gamma) * apart, atol=1e-12)


def test_works_when_82_rmt_both_forms_are_hooked():
    """The axial one as rows, columns and their product, by loops over rows and columns."""
    model, cache = _shaken("rmt")
    depths = [{site.depth for site in model.sites(f"*.{kind}.hook_z")} for kind in ("mixer", "attn")]
    assert depths == [{0, 1}, {2, 3}]
    q, k, v, z = (cache[f"blocks.0.mixer.hook_{point}"].unflatten(1, (8, 8)) for point in "qkvz")
    fade = math.log(0.75) * (torch.arange(8)[:, None] - torch.arange(8)).abs().double()  # of the first head
    mixed = torch.stack([torch.softmax(q[0, i, :, 0] @ k[0, i, :, 0].T / 4 + fade, 1) @ v[0, i, :, 0]
                         for i in range(8)])
    mixed = torch.stack([torch.softmax(q[0, :, j, 0] @ k[0, :, j, 0].T / 4 + fade, 1) @ mixed[:, j]
                         for j in range(8)], 1)
    assert torch.allclose(mixed, z[0, :, :, 0], atol=1e-12)
    matrix = model.mixing_matrix(cache, 0)
    assert torch.allclose(torch.einsum("bhqk,bkhd->bqhd", matrix, v.flatten(1, 2)), z.flatten(1, 2), atol=1e-12)
    without = model.run_with_hooks(_images(), [("blocks.0.mixer.hook_row_pattern", lambda value, site: value * 0)])
    assert not torch.allclose(without, model(_images()))


def test_axial_and_full_attention_are_one_where_scores_are_of_positions_alone():
    spec = Spec(d_model=8, n_heads=2, block=(), norm=None, position=None)
    axial, full = AxialDecay(spec).double(), GridAttention(8, 2, Manhattan(2), LocalConv(8, 5)).double()
    full.load_state_dict(axial.state_dict())
    x = torch.randn(2, 25, 8, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(axial(x, None), full(x, None), atol=1e-4)
        for module in (axial, full):
            module.q.weight.zero_(), module.q.bias.zero_()
        assert torch.allclose(axial(x, None), full(x, None), atol=1e-12)


# -- CSWin ------------------------------------------------------------------------------------------------------------


def test_works_when_70_cswin_stripes_are_mapped_to_the_whole_image():
    _, cache = _shaken("cswin")
    pattern = cache["blocks.0.attn.hook_pattern"][0]
    assert _seen(pattern[0], (3, 6)) == {(i, j) for i in (2, 3) for j in range(8)}
    assert _seen(pattern[1], (3, 6)) == {(i, j) for i in range(8) for j in (6, 7)}
    assert (cache["blocks.2.attn.hook_pattern"] > 0).all()  # twice as wide at half the side: everything


def test_works_when_70_cswin_rows_and_columns_are_ablated_independently():
    model, cache = _shaken("cswin")
    z, out = "blocks.0.attn.hook_z", "blocks.0.hook_attn_out"
    writes = {}
    for heads in ((), (0,), (1,), (0, 1)):
        with model.edit(*(Ablate(z, head=h) for h in heads)):
            other = model.run_with_cache(_images(), [z, out])[1]
        kept = [h for h in range(2) if h not in heads]
        assert torch.equal(other[z][:, :, kept], cache[z][:, :, kept]) and not other[z][:, :, list(heads)].any()
        writes[heads] = other[out]
    both = writes[()] - writes[0,] - writes[1,] + writes[0, 1]
    assert both.abs().max() < 1e-12 and (writes[0,] - writes[1,]).abs().max() > 1e-3


def test_stripe_attention_and_its_convolution_equal_those_of_each_stripe_alone():
    """Each stripe cut out: torch's attention and a plain convolution of its values, zeros around it."""
    attn = GridAttention(8, 2, Stripes(2, 2), StripeConv(8, 2)).double()
    x = torch.randn(1, 64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    grid = torch.arange(64).view(8, 8)
    with torch.no_grad():
        q, k, v = (project(x) for project in (attn.q, attn.k, attn.v))
        z = torch.zeros(1, 64, 8, dtype=torch.float64)
        for s in range(4):
            for half, cut in ((slice(0, 4), grid[2 * s: 2 * s + 2]), (slice(4, 8), grid[:, 2 * s: 2 * s + 2])):
                at = cut.flatten()
                values = v[:, at, half].transpose(1, 2).reshape(1, 4, *cut.shape)
                local = F.conv2d(values, attn.local.conv.weight[half], attn.local.conv.bias[half], padding=1, groups=4)
                mixed = F.scaled_dot_product_attention(q[:, at, half], k[:, at, half], v[:, at, half])
                z[:, at, half] = mixed + local.flatten(2).transpose(1, 2)
        assert torch.allclose(attn(x, None), attn.o(z), atol=1e-12)


# -- BiFormer ---------------------------------------------------------------------------------------------------------


def test_works_when_30_biformer_routes_and_patterns_are_cached():
    """A query's pattern is positive in the regions that its region chose, and nowhere else; patching moves it."""
    model, cache = _shaken("biformer")
    route, pattern = (cache[f"blocks.0.attn.hook_{point}"] for point in ("route", "pattern"))
    assert route.shape == (2, 16, 4) and not route.is_floating_point()
    for (i, j), region in ((place, 4 * (place[0] // 2) + place[1] // 2) for place in PLACE):
        chosen = {(a, b) for a, b in PLACE if 4 * (a // 2) + b // 2 in route[1, region].tolist()}
        assert _seen(pattern[1, 0], (i, j)) == chosen and len(chosen) == 16
    own = torch.arange(16)[None, :, None].expand_as(route)
    with model.edit(Patch("blocks.0.attn.hook_route", own)):
        alone = model.run_with_cache(_images())[1]["blocks.0.attn.hook_pattern"]
    assert _seen(alone[0, 0], (5, 2)) == {(i, j) for i in (4, 5) for j in (2, 3)}


def test_routes_are_the_regions_of_largest_mean_product():
    _, cache = _shaken("biformer")
    q, k = (cache[f"blocks.0.attn.hook_{point}"][0].flatten(1) for point in "qk")
    means = [torch.stack([torch.stack([x[8 * i + j] for i, j in PLACE if 4 * (i // 2) + j // 2 == region]).mean(0)
                          for region in range(16)]) for x in (q, k)]
    best = (means[0] @ means[1].T).argsort(1, descending=True)[:, :4]
    assert torch.equal(cache["blocks.0.attn.hook_route"][0], best)


def test_works_when_30_biformer_of_all_regions_is_full_attention_and_a_convolution():
    attn = GridAttention(8, 2, Routed(2, 4, 16), LocalConv(8, 5)).double()
    x = torch.randn(2, 64, 8, dtype=torch.float64)
    q, k, v = (project(x).unflatten(-1, (2, 4)).transpose(1, 2) for project in (attn.q, attn.k, attn.v))
    full = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    lepe = attn.local.conv(attn.v(x).transpose(1, 2).view(2, 8, 8, 8)).flatten(2).transpose(1, 2)
    assert torch.allclose(attn(x, None), attn.o(full + lepe), atol=1e-10)


# -- CrossFormer ------------------------------------------------------------------------------------------------------


def test_works_when_181_crossformer_groups_are_mapped_to_the_grid():
    _, cache = _shaken("crossformer")
    near, far = (cache[f"blocks.{d}.attn.hook_pattern"][0, 0] for d in (0, 1))
    assert _seen(near, (3, 4)) == {(i, j) for i in (2, 3) for j in (4, 5)}
    assert _seen(far, (3, 4)) == {(i, j) for i in (1, 3, 5, 7) for j in (0, 2, 4, 6)}


def test_works_when_181_crossformer_bias_is_a_table_at_one_size_and_goes_on_at_a_larger():
    """Every entry is the network at the offset, of combs in their own steps; the larger image holds the smaller."""
    places = Groups(2, 2, far=True).double()
    with torch.no_grad():
        small, large = (places(*[torch.zeros(1, 2, side**2, 4, dtype=torch.float64)] * 2)[0] for side in (8, 12))
        table = {(a, b): places.bias(torch.tensor([a, b]).double()) for a in range(-5, 6) for b in range(-5, 6)}
    for bias, side in ((small, 8), (large, 12)):
        for query in (0, side + 1, side**2 - 1):
            for key in range(side**2):
                down, right = key // side - query // side, key % side - query % side
                seen = down % 2 == right % 2 == 0
                assert torch.allclose(bias[:, query, key], table[down // 2, right // 2], atol=1e-12) if seen else (
                    bias[:, query, key] == torch.finfo(torch.float64).min).all()
    assert torch.allclose(large.view(2, 12, 12, 12, 12)[:, :8, :8, :8, :8], small.view(2, 8, 8, 8, 8), atol=1e-12)


def test_squares_and_combs_equal_attention_among_those_alone():
    x = torch.randn(1, 64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    for far in (False, True):
        places = Groups(2, 4, far)
        attn = GridAttention(8, 2, places).double()
        with torch.no_grad():
            out, bias = attn(x, None), places(*[torch.zeros(1, 2, 64, 4, dtype=torch.float64)] * 2)
            for i, j in ((0, 0), (1, 3)):
                at = torch.tensor([8 * a + b for a, b in PLACE if (a % 4, b % 4) == (i, j)] if far else
                                  [8 * a + b for a, b in PLACE if (a // 4, b // 4) == (i // 2, j // 2)])
                q, k, v = (project(x[:, at]).unflatten(-1, (2, 4)).transpose(1, 2)
                           for project in (attn.q, attn.k, attn.v))
                z = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, :, at][:, :, :, at])
                assert torch.allclose(out[:, at], attn.o(z.transpose(1, 2).flatten(2)), atol=1e-12)


def test_embeddings_of_several_scales_share_their_middle():
    """A pixel reaches a patch's channels of a kernel exactly where that kernel, around the patch's middle, holds it."""
    cross = CrossScale(1, 8, (4, 8, 16), 4)
    assert [conv.out_channels for conv in cross.convs] == [4, 2, 2]
    pixels = torch.zeros(1, 1, 32, 32, requires_grad=True)
    for kernel, channel in ((4, 0), (8, 4), (16, 6)):
        grad = torch.autograd.grad(cross(pixels)[0, channel, 4, 4], pixels)[0][0, 0]
        rows = grad.abs().sum(1).nonzero().flatten()
        assert rows.tolist() == list(range(18 - kernel // 2, 18 + kernel // 2))


def test_what_does_not_fit_an_image_is_refused():
    x = _images().float()
    for name, sizes, message in (("cswin", dict(width=3), "3 wide do not divide an image 8"),
                                 ("biformer", dict(regions=3), "3 regions a side do not divide an image 8"),
                                 ("crossformer", dict(group=3), "groups of 3 do not divide an image 8")):
        with pytest.raises(BadInput, match=message):
            build(name, **sizes)(x)
    with pytest.raises(BadInput, match="half of the heads"):
        build("cswin", n_heads=1)
    with pytest.raises(BadInput, match="top is 17"):
        build("biformer", top=17)
    with pytest.raises(BadInput, match="no square image"):
        GridAttention(8, 2, Manhattan(2))(torch.zeros(1, 10, 8), None)
