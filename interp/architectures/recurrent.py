"""Networks that read a sequence one token after the other.

    lstm    x = lstm x, layer by layer: hidden states hand on, nothing is added to a stream; no norms, no positions
"""

from dataclasses import replace

from interp.architectures.entry import Entry, sized
from interp.architectures.gpt import GPT
from interp.parts.lstm import LstmBlock
from interp.parts.spec import Spec

LSTM = replace(GPT, block=LstmBlock, norm=None, position=None, tied=())


def lstm(**sizes: int | None) -> Spec:
    """The spec of a stack of LSTM layers."""
    return replace(LSTM, n_heads=1, **sizes)


MEMBERS: tuple[Entry, ...] = (
    sized("lstm", "LSTM layers, one on top of the other", dict(d_model=64, n_layers=2, d_vocab=128), lstm,
          family="recurrent", citation="Hochreiter & Schmidhuber 1997, Long short-term memory; Gers et al. 2000, "
          "Learning to forget"),
)
