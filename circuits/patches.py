"""A hidden patch in DINOv2-S: from which of two photographs it is, which only the patches around it can tell.

Each prompt's counterfactual is another prompt, so that restoring a node says what removing it says: `ablation` is what
`auto` finds at twice the cost.
"""

from circuits._run import Script

SCRIPT = Script("patches", task="patches", model="dinov2-s", n=48, draws=50, more=("--method", "ablation"))

if __name__ == "__main__":
    SCRIPT.main()
