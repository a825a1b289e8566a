"""A torchvision whose C extension cannot load must not take `transformers` and `timm` down with it.

torchvision's wheels are linked against one torch build. Beside another (the CPU build, a newer release) the extension
stays out, `import torchvision` dies with "operator torchvision::nms does not exist", and with it every model class of
transformers and all of timm, none of which use the operator. Declaring the operators' schemas, without a kernel, lets
the import through; `torchvision.ops.nms` then still raises torchvision's own message about the mismatch.
"""

import importlib
import importlib.util
import sys

import torch

_SCHEMAS = [f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")]
_declared: list[torch.library.Library] = []  # a library forgets its operators when it is collected


def mend() -> bool:
    """Make `import torchvision` work where only its C extension does not. True if that was needed.

    Does nothing without torchvision, with a healthy one, or called again. The first call imports torchvision, as
    transformers and timm do themselves. Any other failure of that import is left to whoever imports it next.
    """
    if "torchvision" in sys.modules or _declared or importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
        return False
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declared.append(library)
    for schema in _SCHEMAS:
        library.define(schema)
    importlib.import_module("torchvision")
    return True
