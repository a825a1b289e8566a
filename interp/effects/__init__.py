"""Effects: what a source does to a target, as one family of rule sets behind three engines."""

from interp.effects.api import effects
from interp.effects.decompose import Decomposition, decompose
from interp.effects.result import Effects
from interp.effects.rules import RULE_SETS, RuleSet, rule_set
from interp.results.callable_package import make_callable

__all__ = ["Decomposition", "Effects", "RULE_SETS", "RuleSet", "decompose", "effects", "rule_set"]

make_callable(__name__, effects)  # interp.effects(...) is effects(...)
