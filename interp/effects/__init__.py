"""Effects: what a source does to a target, as one family of rule sets behind three engines."""

from interp.effects.api import effects
from interp.effects.result import Effects
from interp.effects.rules import RULE_SETS, RuleSet, rule_set

__all__ = ["Effects", "RULE_SETS", "RuleSet", "effects", "rule_set"]
