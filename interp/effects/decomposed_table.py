"""Which torch functions are linear, products, nonlinear, decisions: the tables that `decomposed_ops` dispatches by."""

import torch
from torch import Tensor
from torch.nn import functional as F

T = Tensor

# -- linear in one decomposed argument, everything else constant, no constant term of their own ---------------------
RESHAPES = {T.view, T.reshape, torch.reshape, T.flatten, torch.flatten, T.unflatten, torch.unflatten, T.unsqueeze,
            torch.unsqueeze, T.squeeze, torch.squeeze, T.view_as, T.reshape_as, T.ravel, torch.ravel}
EXPANDS = {T.expand, T.expand_as, T.broadcast_to, torch.broadcast_to}
SAME = {T.contiguous, T.clone, torch.clone, T.detach, torch.detach}
CASTS = {T.to, T.type, T.float, T.double, T.half, T.bfloat16, T.type_as, T.neg, torch.neg, T.__neg__, torch.negative}
TRANSPOSES = {T.transpose, torch.transpose, T.swapaxes, torch.swapaxes}
PERMUTES = {T.permute, torch.permute}
SPLITS = {T.chunk, torch.chunk, T.split, torch.split}
MOVES = {  # other linear maps that change no value, only its place
    T.repeat, T.repeat_interleave, torch.repeat_interleave, T.unbind, torch.unbind, T.select, torch.select, T.narrow,
    torch.narrow, T.index_select, torch.index_select, T.gather, torch.gather, T.roll, torch.roll, T.flip, torch.flip,
    torch.movedim, T.movedim, T.diagonal, torch.diagonal, F.unfold, T.tril, torch.tril, T.triu, torch.triu,
    torch.tile, T.tile, torch.view_as_real, torch.view_as_complex, F.pixel_shuffle, F.pixel_unshuffle,
}
SUMS = {
    T.sum, torch.sum, T.mean, torch.mean, T.cumsum, torch.cumsum, F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d, F.interpolate, torch.fft.fft, torch.fft.ifft, torch.fft.fft2, torch.fft.ifft2,
    torch.fft.rfft, torch.fft.irfft, torch.fft.rfft2, torch.fft.irfft2, torch.fft.fftn, torch.fft.ifftn,
}
LINEAR = RESHAPES | EXPANDS | SAME | CASTS | TRANSPOSES | PERMUTES | SPLITS | MOVES | SUMS | {T.__getitem__}
LIKE = {T.expand_as, T.view_as, T.reshape_as, T.type_as, T.to}  # the second argument only lends its shape or type

# -- sums, products, quotients --------------------------------------------------------------------------------------
ADD = {torch.add: 1, T.add: 1, T.__add__: 1, T.__radd__: 1, torch.sub: -1, T.sub: -1, T.__sub__: -1,
       torch.subtract: -1, T.subtract: -1}
REVERSED_SUB = {T.__rsub__, torch.rsub}
MULTIPLY = {torch.mul, T.mul, T.__mul__, T.__rmul__, torch.multiply, T.multiply}
MATMUL = {torch.matmul, T.matmul, T.__matmul__, torch.bmm, T.bmm, torch.mm, T.mm}
PRODUCTS = MULTIPLY | MATMUL | {torch.einsum, T.__rmatmul__}
DIVISIONS = {torch.div, T.div, T.__truediv__, torch.true_divide, T.true_divide, torch.divide, T.divide}
REVERSED_DIVISIONS = {T.__rdiv__, T.__rtruediv__}

# -- functions of one decomposed argument -----------------------------------------------------------------------------
ELEMENTWISE = {
    F.gelu, F.relu, F.relu6, F.silu, F.elu, F.mish, F.softplus, F.hardswish, F.hardsigmoid, F.hardtanh, F.leaky_relu,
    torch.relu, T.relu, torch.tanh, T.tanh, F.tanh, torch.sigmoid, T.sigmoid, F.sigmoid, torch.exp, T.exp, torch.log,
    T.log, torch.log1p, T.log1p, torch.expm1, T.expm1, torch.sqrt, T.sqrt, torch.rsqrt, T.rsqrt, torch.pow, T.pow,
    T.__pow__, torch.square, T.square, torch.abs, T.abs, torch.clamp, T.clamp, T.clamp_min, torch.clamp_min,
    T.clamp_max, torch.clamp_max, T.reciprocal, torch.reciprocal, torch.sin, torch.cos, T.sin, T.cos, F.logsigmoid,
    torch.erf, T.erf,
}
NONLINEAR = ELEMENTWISE | {
    torch.softmax, T.softmax, F.softmax, torch.log_softmax, T.log_softmax, F.log_softmax, torch.logsumexp, T.logsumexp,
    T.amax, torch.amax, T.amin, torch.amin, T.norm, torch.norm, torch.linalg.vector_norm, torch.linalg.norm,
    F.normalize, T.var, torch.var, T.std, torch.std,
}
CONVOLUTIONS = {F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d}

# -- decisions and facts --------------------------------------------------------------------------------------------
INDEX_FROM_FLOAT = {
    torch.argmax, T.argmax, torch.argmin, T.argmin, torch.argsort, T.argsort, T.gt, T.lt, T.ge, T.le, T.eq, T.ne,
    T.__gt__, T.__lt__, T.__ge__, T.__le__, T.__eq__, T.__ne__, torch.gt, torch.lt, torch.ge, torch.le, torch.eq,
    torch.ne, T.item, T.__bool__, T.__int__, T.__float__, T.__index__, T.tolist, T.numpy, T.__array__, T.long, T.int,
    T.nonzero, torch.nonzero, torch.multinomial, T.multinomial, T.bool, T.round, torch.round, T.floor, torch.floor,
    T.ceil, torch.ceil, torch.sign, T.sign, torch.bucketize, torch.searchsorted, torch.bernoulli, T.bernoulli,
    torch.allclose, T.allclose, torch.equal, T.equal, torch.isclose, T.isclose, T.any, torch.any, T.all, torch.all,
}
CONSTANT = {torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, torch.rand_like, T.new_zeros,
            T.new_ones, T.new_full, T.new_empty, T.new_tensor, T.isnan, torch.isnan, torch.isfinite, T.isfinite,
            T.isinf, torch.isinf}
FACTS = {T.size, T.dim, T.numel, T.stride, T.is_floating_point, torch.is_floating_point, T.is_contiguous, T.__len__,
         T.get_device, T.element_size, T.is_complex, torch.is_complex, T.storage_offset, torch.numel, T.ndimension}
IN_PLACE = {T.__iadd__: torch.add, T.add_: torch.add, T.__isub__: torch.sub, T.sub_: torch.sub, T.__imul__: torch.mul,
            T.mul_: torch.mul, T.__itruediv__: torch.div, T.__idiv__: torch.div, T.div_: torch.div,
            T.relu_: torch.relu, T.masked_fill_: torch.masked_fill, T.neg_: torch.neg, T.tanh_: torch.tanh,
            T.sigmoid_: torch.sigmoid, T.exp_: torch.exp, T.clamp_: torch.clamp}
ATTRIBUTES = {"T", "mT", "H", "mH", "real", "imag"}  # linear maps spelled as attributes
# axes of an input whose first is a batch that the function treats row by row: sources can be folded into it
BATCHED = {
    F.conv1d: 3, F.conv2d: 4, F.conv3d: 5, torch.conv1d: 3, torch.conv2d: 4, torch.conv3d: 5, F.avg_pool1d: 3,
    F.avg_pool2d: 4, F.adaptive_avg_pool1d: 3, F.adaptive_avg_pool2d: 4, F.unfold: 4, F.pixel_shuffle: 4,
    F.pixel_unshuffle: 4,
}
