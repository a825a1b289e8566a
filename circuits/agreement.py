"""Subject-verb agreement in SmolLM2 across a noun of the other number: "The keys near the cabinet" -> " are".

Paper: Linzen, Dupoux and Goldberg 2016, "Assessing the ability of LSTMs to learn syntax-sensitive dependencies",
arXiv 1611.01368.
"""

from circuits._run import Script

SCRIPT = Script("agreement", task="agreement:attractor=opposite", model="smollm2-135m", n=48, draws=50)

if __name__ == "__main__":
    SCRIPT.main()
