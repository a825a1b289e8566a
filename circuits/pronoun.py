"""Gendered pronoun in SmolLM2: "So Mary is a really great friend, isn't" -> " she".

Paper: Mathwin et al. 2023, "Identifying a preliminary circuit for predicting gendered pronouns in GPT-2 small".

Each prompt's counterfactual is another prompt, so that restoring a node says what removing it says: `ablation` is what
`auto` finds at twice the cost.
"""

from circuits._run import Script

SCRIPT = Script("pronoun", task="pronoun", model="smollm2-135m", n=48, draws=50, more=("--method", "ablation"))

if __name__ == "__main__":
    SCRIPT.main()
