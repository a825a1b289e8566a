"""Induction over random tokens in SmolLM2: "A B ... A" -> "B".

Paper: Olsson et al. 2022, "In-context learning and induction heads", arXiv 2209.11895.
"""

from circuits._run import Script

SCRIPT = Script("induction", task="induction:length=16", model="smollm2-135m", n=32, draws=50)

if __name__ == "__main__":
    SCRIPT.main()
