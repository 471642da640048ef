"""Which operators the graph of an archive may call.

What runs are torch's operators that compute: an operator that names a file, a process, a stream or
memory that is not its own does not.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import torch

__all__ = ["acts", "computes"]

# Arguments that are text and choose a way to compute, or a message.
_TEXT = frozenset(
    str.split("""
    UPLO a approximate assert_msg b chars cls device_type driver equation fillchar indexing
    interpolation item key message mode msg new norm old ord p pad_mode padding padding_side reduce
    rounding_mode self separator side substr type values el string t s l dict idx inputs input
    to_add
    """)
)

# What arguments and results are made of; streams, storages, remote values and objects are not.
_TYPES = frozenset(
    str.split("""
    Any AnyClassType AnyEnumType Device Future Generator QScheme Tensor bool complex float int
    number str t t1 t2 tVal tKey NoneType Layout MemoryFormat ScalarType SymInt Scalar
    """)
)

# Operators that change the process or what others hold.
_ACTORS = frozenset(
    str.split("PythonOp _print manual_seed rpc_async rpc_remote rpc_sync seed set_data")
)

# Of the operators that torch keeps to itself, which skip checks of their arguments: those that
# traced and exported models have in them.
_OWN = frozenset(
    str.split("""
    _adaptive_avg_pool2d _adaptive_avg_pool3d _add_relu _addmm_activation _assert_async
    _assert_scalar _assert_tensor_metadata _batch_norm_impl_index _cast_Byte _cast_Char _cast_Double
    _cast_Float _cast_Half _cast_Int _cast_Long _cast_Short _cdist_forward _conj _conj_physical
    _convolution _convolution_mode _cummax_helper _cummin_helper _dim_arange _euclidean_dist
    _fft_c2c _fft_c2r _fft_r2c _functional_assert_async _functional_assert_scalar
    _functional_sym_constrain_range _functional_sym_constrain_range_for_size _fused_rms_norm
    _is_all_true _is_any_true _local_scalar_dense _log_softmax _logcumsumexp _make_dep_token
    _masked_softmax _native_batch_norm_legit _native_batch_norm_legit_functional
    _native_batch_norm_legit_no_training _native_multi_head_attention _neg_view
    _pack_padded_sequence _pad_circular _pad_enum _pad_packed_sequence _prelu_kernel _reshape_alias
    _reshape_copy _reshape_from_tensor _safe_softmax _scaled_dot_product_attention_math
    _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention
    _scaled_dot_product_flash_attention_for_cpu _set_item _shape_as_tensor _softmax _stack
    _thnn_fused_gru_cell _thnn_fused_lstm_cell _to_copy _to_cpu _transformer_encoder_layer_fwd
    _trilinear _unique _unique2 _unsafe_index _unsafe_view _unwrap_optional _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _weight_norm _weight_norm_interface
    """)
)

# What the compiler asks about a value.
_QUESTIONS = re.compile(
    r"is_\w+|data|device|dtype|itemsize|layout|max|min|nbytes|requires_grad|type"
)

# Kernels of one backend, which take weights packed as memory of its own.
_PACKED = re.compile(r"(fbgemm|mkldnn|miopen|cudnn|quantized|sparse|mps|xnnpack)_")


@functools.cache
def acts(kind: str) -> bool:
    """Whether the operator `kind`, `namespace::name`, can do anything besides computing values."""
    namespace, _, name = kind.partition("::")
    if namespace not in ("aten", "prim", "prims"):
        return True
    return name in _ACTORS or any(map(_reaches_out, torch._C._jit_get_schemas_for_operator(kind)))


@functools.cache
def computes(kind: str) -> bool:
    """Whether the operator `kind` is one of torch's that compute values, and nothing else."""
    namespace, _, name = kind.partition("::")
    if namespace == "prim":
        return _QUESTIONS.fullmatch(name) is not None
    known = torch._C._jit_get_schemas_for_operator(kind)
    if namespace not in ("aten", "prims") or not known or acts(kind):
        return False
    own = name.startswith("_") and not name.startswith("__")
    return (name in _OWN or not own) and _PACKED.match(name) is None


def _reaches_out(schema: Any) -> bool:
    for argument in [*schema.arguments, *schema.returns]:
        names = set(re.findall(r"[\w.]+", str(argument.type)))
        names -= {"Optional", "List", "Tuple", "Dict"}
        if names - _TYPES or ("str" in names and argument.name and argument.name not in _TEXT):
            return True
    return False
