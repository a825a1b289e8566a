"""Models whose weights depend on what a token is.

    mot    GPT with every weight of a block once for each modality, and one attention over all tokens
"""

from dataclasses import replace

from interp.architectures.entry import Entry, member
from interp.architectures.gpt import GPT
from interp.parts.modality import ModalityBlock

MOT = replace(GPT, block=ModalityBlock, position=None)

MEMBERS: tuple[Entry, ...] = (
    member("mot", "GPT with weights of their own for the two halves of its vocabulary", MOT, family="modality",
           paper=156, numbers=False, citation="Liang et al. 2024, Mixture-of-Transformers, arXiv 2411.04996"),
)
