"""How the depths of a model hang together, for a report: influence of each block, phases, loops where there are any."""

from dataclasses import dataclass

import pandas as pd

from interp.depth.influence import block_influences
from interp.depth.looped import Loops, visits
from interp.depth.phase_count import Phases, phases
from interp.hooks import HookedModel
from interp.hooks.model import Inputs
from interp.results import InterpError
from interp.results.report import Section


@dataclass(frozen=True, eq=False)
class Structure:
    """`influence`: one row a block; `phases` and `loops`, None where the model has none, then `absent` says why."""

    influence: pd.DataFrame
    phases: Phases | None
    loops: Loops | None
    absent: dict[str, str]

    def save(self, run) -> None:
        """Tables and figures into a run directory."""
        run.save_table("influence", self.influence)
        for part in (self.phases, self.loops):
            if part is not None:
                part.save(run)

    def sections(self) -> list[Section]:
        """Sections for `run.save_report`."""
        found = [Section("Block influence", "1 - cosine of what enters and what leaves a block: how far it turns the "
                         "stream. Small is not useless: see the skip effects.", self.influence)]
        if self.phases is not None:
            text = (f"{self.phases.k} segments by max-cut. The gain of the best k contiguous segments over an even "
                    "pace says whether there are phases at all: where its interval contains 0 there may be none.")
            found += [Section("Phases", text, self.phases.frame(), self.phases.figure()),
                      Section("How many phases", "The best segments against depths shuffled and an even pace.",
                              self.phases.curve, self.phases.count_figure())]
        if self.loops is not None:
            found.append(Section("Loops", "Every visit of shared weights: step length over stream length (residual) "
                                 "and over the step before (contraction; below 1 it settles).", self.loops.frame(),
                                 self.loops.figure()))
        for name, why in self.absent.items():
            found.append(Section(name.capitalize(), f"None: {why}"))
        return found


def structure(model: HookedModel, x: Inputs, seed: int = 0) -> Structure:
    """Influence, phases and loops of a model on prompts `x`.

    Raises RequiresResidualStream for a model without one; phases and loops that it lacks are named in `absent`.
    """
    influences = block_influences(model, x)
    found: dict[str, Phases | Loops | None] = {}
    absent: dict[str, str] = {}
    for name, measure in (("phases", lambda: phases(model, x, seed=seed)), ("loops", lambda: visits(model, x))):
        try:
            found[name] = measure()
        except InterpError as error:
            found[name], absent[name] = None, str(error)
    frame = pd.DataFrame({"block": list(influences), "influence": list(influences.values())})
    return Structure(frame, found["phases"], found["loops"], absent)
