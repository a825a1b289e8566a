"""Indirect object identification in SmolLM2: "When Mary and John went to the store, John gave a drink to" -> " Mary".

Paper: Wang et al. 2022, "Interpretability in the wild", arXiv 2211.00593 (there in GPT-2 small).
"""

from circuits._run import Script

SCRIPT = Script("ioi", task="ioi", model="smollm2-135m", n=64, draws=50)

if __name__ == "__main__":
    SCRIPT.main()
