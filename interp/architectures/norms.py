"""GPT with another norm in the places of its own.

    pre-rmsnorm         LayerNorm of a zero-mean stream: RMSNorm with a shift; `interp.surgery.recentre` makes it of gpt
    pre-crmsnorm        the same without the redundant coordinate of a zero-mean stream
    unified-norm        channelwise norm over batches, a constant at inference
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry, member
from interp.architectures.gpt import GPT
from interp.parts.rms_norms import CRMSNorm, RMSNormShift
from interp.parts.unified_norm import UnifiedNorm

PRE_RMSNORM = replace(GPT, norm=RMSNormShift, tied=())
PRE_CRMSNORM = replace(PRE_RMSNORM, norm=CRMSNorm)
UNIFIED_NORM = replace(GPT, norm=UnifiedNorm)

_norms = partial(member, family="norms")

MEMBERS: tuple[Entry, ...] = (
    _norms("pre-rmsnorm", "GPT on a stream without mean, RMSNorm for LayerNorm", PRE_RMSNORM, paper=160,
           citation="Jiang et al. 2023, Pre-RMSNorm and Pre-CRMSNorm transformers, arXiv 2305.14858"),
    _norms("pre-crmsnorm", "GPT on a stream without mean and without its redundant coordinate", PRE_CRMSNORM, paper=160,
           citation="Jiang et al. 2023, Pre-RMSNorm and Pre-CRMSNorm transformers, arXiv 2305.14858"),
    _norms("unified-norm", "GPT with a norm over batches that is a constant at inference", UNIFIED_NORM, paper=155,
           citation="Yang et al. 2022, Unified Normalization, arXiv 2208.01313"),
)
