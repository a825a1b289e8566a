"""A torchvision whose C extension cannot load, and a healthy one; each in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

BROKEN = """
import torch
try:
    torch.ops.torchvision.nms
except AttributeError:
    raise RuntimeError("operator torchvision::nms does not exist")
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: scores)
"""
HEALTHY = """
import torch
lib = torch.library.Library("torchvision", "DEF")
lib.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
lib.impl("nms", lambda dets, scores, iou_threshold: scores, "CPU")
"""


def run(tmp_path, torchvision: str | None, body: str) -> str:
    if torchvision is not None:
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision" / "__init__.py").write_text(torchvision)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_missing_operator_is_declared_and_the_import_goes_through(tmp_path):
    assert run(tmp_path, BROKEN, """
        from interp.adapters._torchvision import mend
        first, second = mend(), mend()
        import torchvision
        print(first, second)
    """) == "True False"  # fmt: skip


def test_without_mending_that_import_fails(tmp_path):
    """The premise: without `mend` this torchvision cannot be imported."""
    out = run(tmp_path, BROKEN, """
        try:
            import torchvision
        except RuntimeError as error:
            print(error)
    """)  # fmt: skip
    assert out == "operator torchvision::nms does not exist"


def test_healthy_torchvision_keeps_its_own_operator(tmp_path):
    assert run(tmp_path, HEALTHY, """
        from interp.adapters import _torchvision
        print(_torchvision.mend(), _torchvision._declared)
        import torch
        print(torch.ops.torchvision.nms(torch.zeros(1, 4), torch.ones(1), 0.5).item())
    """) == "False []\n1.0"  # fmt: skip


@pytest.mark.parametrize("broken", [None, "raise RuntimeError('something else')"])
def test_nothing_is_done_without_torchvision_or_for_another_failure(tmp_path, broken):
    assert run(tmp_path, broken, """
        import importlib.util, sys
        find = importlib.util.find_spec
        if len(sys.argv) == 1 and find("torchvision") and not find("torchvision").origin.startswith(sys.path[0]):
            importlib.util.find_spec = lambda name, *rest: None if name == "torchvision" else find(name, *rest)
        from interp.adapters import _torchvision
        print(_torchvision.mend(), _torchvision._declared)
    """) == "False []"  # fmt: skip
