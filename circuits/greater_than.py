"""Greater-than in SmolLM2: "The war lasted from the year 1735 to the year 17" -> a tens digit of 3 or more.

Paper: Hanna et al. 2023, "How does GPT-2 compute greater-than?", arXiv 2305.00586 (there in GPT-2 small).
"""

from circuits._run import Script

SCRIPT = Script("greater-than", task="greater-than", model="smollm2-135m", n=64, draws=50)

if __name__ == "__main__":
    SCRIPT.main()
