"""Every architecture of the catalog that declares a stream: exact at its last depth, and causal where it says so."""

import numpy as np
import pytest

from interp.depth import profile, skip_effects
from interp.garden.catalog import catalog
from interp.results import BadInput, RequiresResidualStream

ENTRIES = {entry.name: entry for entry in catalog()}
SMALL = dict(d_model=32, n_layers=2, n_heads=4, d_vocab=50, n_ctx=16)


@pytest.mark.parametrize("name", ENTRIES)
def test_depth_analyses_run_and_keep_their_laws(name):
    entry = ENTRIES[name]
    model = entry.make(seed=0, **{size: value for size, value in SMALL.items() if size in entry.sizes})
    x = entry.example(model)
    try:
        found = profile(model, x, lens=2)
    except RequiresResidualStream as error:
        assert "equation" in str(error) or "same [batch, pos]" in str(error)  # said why, before any number
        return
    main = found.lens.values[found.lens.main]
    assert (main[-1] == 0).all() and main.isfinite().all()
    for part, measures in found.values.items():
        for measure in measures:
            curve = found.curve(part, measure)
            assert np.isfinite(curve[~np.isnan(curve)]).all(), (part, measure)
    current = skip_effects(model, x, keep_first=False, positions=2)
    assert np.isfinite(current.matrix()).all() and (np.tril(current.matrix(), -1) == 0).all()
    if model.map.causal and found.tokens.real.shape[1] > 4:
        try:
            past = skip_effects(model, x, "past")
        except BadInput as error:
            assert "other positions than its stream" in str(error)
            return
        assert (past.largest == 0).all() and (past.output_largest == 0).all()
