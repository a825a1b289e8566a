"""The report of a depth analysis: profile, massive activations, skip effects, each with how to read it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interp.depth.profiles import Profile, half_depth
from interp.depth.skip import SkipEffects
from interp.results.report import Section

_SKIPS = {
    "current": "Each block is left out in turn (its stream passes unchanged); a cell is the mean over tokens of how "
               "far what a later block writes moves, relative to what it wrote.",
    "future": "Each block is left out before the middle token only, and tokens from there on are measured: what a "
              "block hands on to later tokens. In a causal model the last row is exactly 0.",
    "past": "Each block is left out from the middle token on and tokens before it are measured: exactly 0 in a "
            "causal model.",
    "local": "Every later block receives its clean input but for what the left-out block wrote: effects that no "
             "block in between passes on.",
}


def summary(profile: Profile, skips: Sequence[SkipEffects]) -> dict[str, float | None]:
    """The numbers of a profile in a few: depth shares by which half of what is written, turned and read is done.

    `half_written`: of relative contributions; `half_closer`: of the fall of the lens' distance (None where it does not
    fall throughout); `half_output`: of the effects of skipping on the output.
    """
    found: dict[str, float | None] = {"half_written": half_depth(profile.curve("block", "relative", masked=True)),
                                      "massive_tokens": float(len(profile.massive()))}
    if profile.lens is not None:
        distance = profile.lens.values[profile.lens.main].flatten(1).mean(1).numpy()
        falls = np.maximum(-np.diff(distance), 0)
        found["half_closer"] = half_depth(falls) if falls.sum() > 0 else None
    for skip in skips:
        if skip.mode == "current":
            found["half_output"] = half_depth(skip.output_mean.mean(1))
    return found


def sections(profile: Profile, skips: Sequence[SkipEffects], what: str) -> list[Section]:
    """Sections for `run.save_report`."""
    massive = profile.massive()
    facts = pd.DataFrame([{"what": key.replace("_", " "), "value": value}
                          for key, value in summary(profile, skips).items()])
    found = [
        Section("What was run", f"{profile.model} on {what}. Half depths are shares of the depth by which half of a "
                "total is reached: 0.5 where every block does as much as every other.", facts),
        Section("Depth profile", "Lengths are of the stream between blocks and of what each branch writes (log scale). "
                "Relative contributions are means over tokens of ||written|| / ||stream||; cosines below 0 erase, near "
                "0 write something new, above 0 amplify. Centred: without the mean that all tokens share.",
                profile.table(), profile.figure(),
                note="Bands are 95 % bootstrap intervals over prompts."),
        Section("Massive activations", f"Tokens whose stream is somewhere {profile.threshold:g} times as long as the "
                "median token's." if len(massive) else f"No token's stream is {profile.threshold:g} times as long as "
                "the median token's.", massive if len(massive) else None),
    ]
    if len(massive):
        found.append(Section("Depth profile without massive tokens", "The same with those tokens left out.",
                             profile.table(masked=True), profile.figure(masked=True)))
    for skip in skips:
        found.append(Section(f"Skip effects: {skip.mode}", _SKIPS[skip.mode], skip.output_frame(), skip.figure(),
                             note=f"The table is the effect on the output ({skip.output_unit}) at the positions read. "
                             f"{skip.forwards:.1f} forwards. Values above 1 are drawn as 1."))
    return found
