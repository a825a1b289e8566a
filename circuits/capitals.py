"""Capitals that SmolLM2 knows: "The capital of France is" -> " Paris".

Each prompt's counterfactual is another prompt, so that restoring a node says what removing it says: `ablation` is what
`auto` finds at twice the cost.
"""

from circuits._run import Script

SCRIPT = Script("capitals", task="capitals", model="smollm2-135m", n=48, draws=50, more=("--method", "ablation"))

if __name__ == "__main__":
    SCRIPT.main()
