"""The rule sets: what share of an operation's value counts as due to a source, by name.

Each says what it computes, what it assumes and where it is known to fail; every result carries that text.
"""

from dataclasses import dataclass
from typing import Literal

from interp.results.errors import BadInput, nearest

Engine = Literal["patched", "linearised", "decomposed"]


@dataclass(frozen=True)
class RuleSet:
    """One answer to "how much of the target is due to the source"."""

    name: str
    engine: Engine
    linear: bool
    computes: str
    limits: str
    paper: str


_ALL = (
    RuleSet(
        "ablation", "patched", False,
        "clean value minus the value with the source at its baseline; routing and selections are decided anew",
        "one intervention at a time: hides backups and OR; the baseline may leave the data's distribution",
        "activation patching: Vig 2020 (2004.12265), Zhang & Nanda 2024 (2309.16042)",
    ),
    RuleSet(
        "tangent", "linearised", True,
        "gradient of the metric at the clean run times (clean - baseline)",
        "blind where softmax or norms saturate and where effects cancel; weak for MLP outputs",
        "attribution patching: Nanda 2023; Syed 2023 (2310.10348)",
    ),
    RuleSet(
        "integrated", "linearised", True,
        "gradient averaged over runs whose input embeddings lie between baseline and clean, times each node's own "
        "difference",
        "the averaged path is that of the inputs, not of the node; needs a counterfactual or zero baseline",
        "EAP-IG: Hanna 2024 (2403.17806); Sundararajan 2017 (1703.01365)",
    ),
    RuleSet(
        "relp", "linearised", True,
        "gradient with norm scales held, activations replaced by their ratio f(x)/x, half of each product's gradient",
        "holding scales hides what a source does to them; softmax keeps its derivative and still saturates",
        "relevance patching: Jafari 2025 (2508.21258), after Achtibat 2024 (2402.05602)",
    ),
    RuleSet(
        "frozen", "linearised", True,
        "value paths only: patterns, norm statistics, gates and routing held at the clean run",
        "cannot see anything that works by moving attention (queries and keys)",
        "Elhage 2021, transformer-circuits.pub/2021/framework",
    ),
    RuleSet(
        "direct", "linearised", True,
        "the part that reaches the output through no other component, norm scales held",
        "early components act through later ones, which this leaves out by definition",
        "direct logit attribution: Elhage 2021; Wang 2022 (2211.00593)",
    ),
    RuleSet(
        "cdt", "decomposed", False,
        "contextual decomposition: attention f(r), activation f(t) - f(i), biases split by magnitude, sign "
        "normalisation; the model's epsilon, two-pass variance, complement bias",
        "one pass cannot see a source that acts through queries or keys only; far from the true effect in deep models",
        "Hsu 2024 (2407.00886); Singh 2019 (1806.05337)",
    ),
    RuleSet(
        "cdt-published", "decomposed", False,
        "contextual decomposition with the authors' epsilon (1e-8) and bias split (tolerance 1e-8)",
        "as cdt; parts do not sum to the whole where a bias meets two small parts",
        "Hsu 2024 (2407.00886), code adelaidehsu/CD_Circuit",
    ),
    RuleSet(
        "local-shapley", "decomposed", False,
        "mean of f(t) - f(i) and f(r) - f(0) at each operation",
        "a heuristic: it is not the Shapley value of the source",
        "after Singh 2019 (1806.05337)",
    ),
)
RULE_SETS: dict[str, RuleSet] = {rules.name: rules for rules in _ALL}


def rule_set(name: str) -> RuleSet:
    """The rule set called `name`. Raises BadInput, naming the nearest."""
    if name not in RULE_SETS:
        raise BadInput(
            f"there is no rule set {name!r}.{nearest(name, RULE_SETS)} There are: {', '.join(RULE_SETS)}"
        )
    return RULE_SETS[name]
