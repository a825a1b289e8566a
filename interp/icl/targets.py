"""What a model that learns in context may hold at its tokens: targets for probes, by class of functions.

    x, y          of the pair itself               phi     Phi(x), where the class has one fixed representation
    prediction    the best prediction at x_k from the k examples before it (Bayes; ridge where functions are linear)
    w             the function's own weights, the same at every k
    ridge 0 ..    the predictions under each of several representations; `ridge active` is the prompt's own, `ridge
                  inactive` the mean of the others
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from interp.tasks.functions import Episodes, FunctionTask
from interp.tasks.functions.representation import Representation


def targets_for(task: FunctionTask, drawn: Episodes) -> Mapping[str, Float[Tensor, "batch n width"]]:
    """The targets that a class has, [batch, n, width] each, float64. Answers that are vectors (of a dynamical system)
    are kept whole."""
    xs, ys = drawn.xs.double(), drawn.ys.double()
    found = {"x": xs, "y": ys if ys.dim() == 3 else ys[..., None]}
    if isinstance(task, Representation) and task.kinds > 1:
        found |= _mixture(task, xs, ys, drawn.latents["kind"].long())
    elif isinstance(task, Representation):
        found["phi"] = task.phi(xs)
    best = task.bayes(xs, ys)
    if best is not None:
        found["prediction"] = best if best.dim() == 3 else best[..., None]
    w = drawn.latents.get("w")
    if w is not None and w.dim() == 2:
        found["w"] = w.double()[:, None].expand(-1, xs.shape[1], -1)
    return found


def _mixture(task: Representation, xs: Tensor, ys: Tensor, kind: Tensor) -> dict[str, Tensor]:
    said = task.ridges(xs, ys).movedim(0, -1)
    at = kind.view(-1, 1, 1).expand(*said.shape[:2], 1)
    active = said.gather(-1, at)
    others = (said.sum(-1, keepdim=True) - active) / (task.kinds - 1)
    each = {f"ridge {i}": said[..., i : i + 1] for i in range(task.kinds)}
    return each | {"ridge active": active, "ridge inactive": others}
