"""Sentence similarity in MiniLM: of two paraphrases, which is nearer to a sentence?

Paper: Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084 (the embedding that is compared).
"""

from circuits._run import Script

SCRIPT = Script("similarity", task="similarity", model="minilm-l6")

if __name__ == "__main__":
    SCRIPT.main()
