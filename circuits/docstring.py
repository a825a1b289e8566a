"""Docstrings in SmolLM2: behind ":param" comes the next argument of the definition.

Paper: Heimersheim and Janiak 2023, "A circuit for Python docstrings in a 4-layer attention-only transformer".
"""

from circuits._run import Script

SCRIPT = Script("docstring", task="docstring", model="smollm2-135m", n=32, draws=50, more=("--method", "ablation"))

if __name__ == "__main__":
    SCRIPT.main()
