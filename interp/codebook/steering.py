"""Steering side by side: the same prompts and random numbers with nothing, books, codes, or a vector added.

How often a topic is named is one half of the answer; how fluent the text still is (perplexity under the clean model) is
the other, and two ways of steering are compared at the same perplexity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from interp.codebook.books import Books
from interp.codebook.circuits import Code
from interp.codebook.edits import Edited
from interp.codebook.steer import fits, generate, perplexity
from interp.codebook.tokens import Tokens, whole_words
from interp.hooks import HookedModel, Steer
from interp.hooks.interventions import Intervention
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, binomial
from interp.results.progress import progress
from interp.tasks.text import encode

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Steered:
    """`texts` has a row per way, prompt and sample: perplexity of what was written, whether it names the topic, the
    text. `rates` is how often each way does, over prompts and samples; `frame()` sets it beside the perplexity."""

    texts: "pd.DataFrame"
    rates: dict[str, Estimate]
    topic: str

    def frame(self) -> "pd.DataFrame":
        """A row per way: topic rate with its interval, median perplexity."""
        import pandas as pd

        fluency = self.texts.groupby("way", sort=False)["perplexity"].median()
        return pd.DataFrame([{"way": way, "topic": rate.value, "low": rate.low, "high": rate.high,
                              "perplexity": float(fluency[way])} for way, rate in self.rates.items()])

    def rate_at(self, perplexity: float, ways: Sequence[str]) -> float:
        """The topic rate that `ways` of one kind, weak to strong, reach at a perplexity: between neighbours in
        proportion to the logarithm, NaN beyond the most and the least fluent."""
        table = self.frame().set_index("way").loc[list(ways)].sort_values("perplexity")
        logs = np.log(table["perplexity"].to_numpy())
        return float(np.interp(np.log(perplexity), logs, table["topic"].to_numpy(), left=np.nan, right=np.nan))

    def figure(self) -> "go.Figure":
        """Topic rate against perplexity, a point per way."""
        import plotly.graph_objects as go

        from interp.results.plots import styled

        table = self.frame()
        figure = go.Figure(go.Scatter(x=table["perplexity"], y=table["topic"], text=table["way"], mode="markers+text",
                                      textposition="top center"))
        return styled(figure, title=f"Steering towards {self.topic!r}", x_title="median perplexity, clean model",
                      y_title="texts that name it")

    def save(self, run) -> None:
        """Table, figure and texts into a run, as "steered"."""
        run.save_views("steered", self)
        run.save_table("steered_texts", self.texts)


def steer(
    books: Books, prompts: Sequence[str], ways: Mapping[str, Intervention | None], topic: str, *, samples: int = 10,
    length: int = 40, seed: int = 0, clean: Sequence[str] = (), past: bool = False,
) -> Steered:
    """Continue prompts in several ways with the same random numbers, and count the texts that `topic` matches (whole
    words, the prompt not counted).

    A way is an intervention (None: nothing, not even books); those named in `clean` run in the model as it was before
    it was trained with books. Perplexity is always that model's. `past` is that of `generate`. Intervals are exact
    binomial ones over texts. Raises BadInput for nothing to do, a pattern that is none, and where a prompt and `length`
    new tokens do not fit the context, as perplexity would not be that of the whole text.
    """
    import pandas as pd

    if isinstance(prompts, str) or not prompts or not ways or samples < 1:
        raise BadInput(f"{samples} texts from prompts={prompts!r} in {len(ways)} ways were asked for; give a list of "
                       "prompts, one way or more, and at least one sample")
    pattern = whole_words(topic)
    tokenizer, rows = books.model.tokenizer, []
    encoded = [encode(tokenizer, prompt) for prompt in prompts]
    longest = max(map(len, encoded))
    if not fits(books.model, longest + length):
        raise BadInput(f"a prompt of {longest} tokens and {length} new ones do not fit the context of "
                       f"{books.model.name}, {books.model.map.n_ctx}; at most {books.model.map.n_ctx - longest} do")
    for way, intervention in progress(ways.items(), "steering"):
        for number, prompt in enumerate(prompts):
            ids = torch.tensor([encoded[number]] * samples)
            given = () if intervention is None else (intervention,)
            if way in clean or intervention is None:
                with books.untrained() as model:
                    made = generate(model, ids, length, *given, seed=seed + number, past=past)
            else:
                made = generate(books.model, ids, length, *given, seed=seed + number, past=past)
            with books.untrained() as model:
                fluency = perplexity(model, made, ids.shape[1])
            for sample, new in enumerate(made[:, ids.shape[1] :].tolist()):
                text = tokenizer.decode(new)
                rows.append({"way": way, "prompt": prompt, "sample": sample, "perplexity": float(fluency[sample]),
                             "topic": bool(pattern.search(text)), "text": text})
    texts = pd.DataFrame(rows)
    rates = {way: binomial(int(part["topic"].sum()), len(part), "texts")
             for way, part in texts.groupby("way", sort=False)}
    return Steered(texts, rates, topic)


def activated(books: Books, codes: Sequence[Code], *, every_slot: bool = False) -> Edited:
    """Books with several codes active at every token. Codes of one group take slots of their own, from the last on.

    Raises BadInput for more codes of one group than it has slots: one, with `every_slot`.
    """
    edited, slots = Edited(books), {}
    for code in codes:
        book = books.of(code.site)
        slots[code[:2]] = slot = slots.get(code[:2], 0) - 1
        if slot < (-1 if every_slot else -book.k):
            raise BadInput(f"at {code.site!r}, group {code.group}, no more than " + (
                "one code can fill every slot" if every_slot else f"k={book.k} codes can be active at once"))
        edited = edited.activate(code.site, code.code, head=code.group if book.grouped else None,
                                 slot="all" if every_slot else slot)
    return edited


@torch.no_grad()
def addition(model: HookedModel, tokens: Tokens, pattern: str, site: str, *, rows: int = 32) -> Steer:
    """Activation addition, to compare with: the mean at `site` of texts that name the topic minus that of the others.

    Turner et al. 2023, arXiv 2308.10248; Rimsky et al. 2023, arXiv 2312.06681, section 3. Its `scale` is 1; make others
    with `dataclasses.replace`. Raises BadInput where all rows, or none, name it.
    """
    about = tokens.matches(pattern, at="all").any(1)
    if not about.any() or about.all():
        raise BadInput(f"{pattern!r} occurs in {int(about.sum())} of {len(about)} rows; some, and not all, are needed")
    sums, counts = torch.zeros(2, 1), torch.zeros(2)
    for part in torch.arange(len(tokens)).split(rows):
        value = model.read(tokens.ids[part], [site])[site].flatten(2)
        for which, mask in enumerate((about[part], ~about[part])):
            kept = tokens.real[part] & mask[:, None]
            sums = sums.expand(2, value.shape[-1]).clone() if sums.shape[1] == 1 else sums
            sums[which] += value[kept].sum(0)
            counts[which] += int(kept.sum())
    mean = sums / counts[:, None]
    return Steer(site, mean[0] - mean[1])
