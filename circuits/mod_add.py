"""Addition modulo 29, in one layer of the garden, split by position: "a b =".

Paper: Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability", arXiv 2301.05217.
"""

from circuits._run import Script

SCRIPT = Script("mod-add", task="mod-add", model="garden/mod-add-29", n=128, draws=200,
                more=("--position", "0", "--position", "1", "--position", "2"))

if __name__ == "__main__":
    SCRIPT.main()
