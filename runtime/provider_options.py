"""The options of execution providers: what each takes, written as `cuda:device_id=1,use_tf32=1`.

The names are ONNX Runtime's. Options that take an address in memory are not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgernn.errors import ProviderError

__all__ = ["OPTIONS", "OptionType", "Value", "check_options", "describe_options", "split_options"]

Value = str | int | bool


@dataclass(frozen=True)
class OptionType:
    """The values of one option.

    Attributes:
        text: What they are, in words.
        choices: All of them; empty where there are too many.
        number: Whether they are integers of at least 0.
    """

    text: str
    choices: tuple[str, ...] = ()
    number: bool = False

    def write(self, value: Value) -> str | None:
        """Return a value as ONNX Runtime reads it, or None where it is not one of this type."""
        if isinstance(value, bool):
            value = int(value)
        if set(self.choices) == {"false", "true"} and str(value) in ("0", "1"):
            return self.choices[int(value)]
        written = str(value)
        if self.number:
            return written if written.isascii() and written.isdecimal() else None
        return written if written in self.choices or (written and not self.choices) else None


def _one_of(*choices: str) -> OptionType:
    return OptionType(f"{', '.join(choices[:-1])} or {choices[-1]}", choices)


_INTEGER = OptionType("an integer", number=True)
_TEXT = OptionType("a text")
_FLAG = _one_of("0", "1")
_BOOLEAN = _one_of("false", "true")

# Provider → name of an option → its values.
OPTIONS: Mapping[str, Mapping[str, OptionType]] = {
    "cpu": {},
    "cuda": {
        "device_id": _INTEGER,
        "use_tf32": _FLAG,
        "enable_cuda_graph": _FLAG,
        "gpu_mem_limit": _INTEGER,
        "arena_extend_strategy": _one_of("kNextPowerOfTwo", "kSameAsRequested"),
        "cudnn_conv_algo_search": _one_of("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
        "cudnn_conv_use_max_workspace": _FLAG,
        "cudnn_conv1d_pad_to_nc1d": _FLAG,
        "do_copy_in_default_stream": _FLAG,
        "enable_skip_layer_norm_strict_mode": _FLAG,
        "fuse_conv_bias": _FLAG,
        "prefer_nhwc": _FLAG,
        "sdpa_kernel": _INTEGER,
        "tunable_op_enable": _FLAG,
        "tunable_op_tuning_enable": _FLAG,
        "tunable_op_max_tuning_duration_ms": _INTEGER,
        "use_ep_level_unified_stream": _FLAG,
    },
    "tensorrt": {
        "device_id": _INTEGER,
        "trt_max_workspace_size": _INTEGER,
        "trt_max_partition_iterations": _INTEGER,
        "trt_min_subgraph_size": _INTEGER,
        "trt_fp16_enable": _FLAG,
        "trt_bf16_enable": _FLAG,
        "trt_int8_enable": _FLAG,
        "trt_int8_calibration_table_name": _TEXT,
        "trt_int8_use_native_calibration_table": _FLAG,
        "trt_dla_enable": _FLAG,
        "trt_dla_core": _INTEGER,
        "trt_engine_cache_enable": _FLAG,
        "trt_engine_cache_path": _TEXT,
        "trt_engine_cache_prefix": _TEXT,
        "trt_engine_hw_compatible": _FLAG,
        "trt_timing_cache_enable": _FLAG,
        "trt_timing_cache_path": _TEXT,
        "trt_force_timing_cache": _FLAG,
        "trt_force_sequential_engine_build": _FLAG,
        "trt_context_memory_sharing_enable": _FLAG,
        "trt_layer_norm_fp32_fallback": _FLAG,
        "trt_builder_optimization_level": _INTEGER,
        "trt_build_heuristics_enable": _FLAG,
        "trt_sparsity_enable": _FLAG,
        "trt_auxiliary_streams": _INTEGER,
        "trt_tactic_sources": _TEXT,
        "trt_profile_min_shapes": _TEXT,
        "trt_profile_opt_shapes": _TEXT,
        "trt_profile_max_shapes": _TEXT,
    },
    "openvino": {
        "device_type": _TEXT,
        "precision": _one_of("FP32", "FP16", "ACCURACY"),
        "num_of_threads": _INTEGER,
        "num_streams": _INTEGER,
        "cache_dir": _TEXT,
        "load_config": _TEXT,
        "model_priority": _one_of("LOW", "MEDIUM", "HIGH", "DEFAULT"),
        "disable_dynamic_shapes": _BOOLEAN,
        "enable_opencl_throttling": _BOOLEAN,
        "enable_qdq_optimizer": _BOOLEAN,
        "layout": _TEXT,
        "reshape_input": _TEXT,
    },
    "directml": {
        "device_id": _INTEGER,
        "performance_preference": _one_of("default", "high_performance", "minimum_power"),
        "device_filter": _one_of("gpu", "npu", "any"),
        "disable_metacommands": _BOOLEAN,
    },
    "coreml": {
        "ModelFormat": _one_of("MLProgram", "NeuralNetwork"),
        "MLComputeUnits": _one_of("ALL", "CPUOnly", "CPUAndGPU", "CPUAndNeuralEngine"),
        "RequireStaticInputShapes": _FLAG,
        "EnableOnSubgraphs": _FLAG,
        "SpecializationStrategy": _one_of("Default", "FastPrediction"),
        "AllowLowPrecisionAccumulationOnGPU": _FLAG,
        "ModelCacheDirectory": _TEXT,
    },
}


def split_options(written: str) -> tuple[str, dict[str, str]]:
    """Split `NAME:OPTION=VALUE,OPTION=VALUE` into the name of a provider and its options.

    Raises:
        ProviderError: What follows the colon is not a list of options.
    """
    name, colon, rest = written.partition(":")
    options: dict[str, str] = {}
    for pair in rest.split(",") if colon else ():
        option, equals, value = (part.strip() for part in pair.partition("="))
        if not (option and equals and value):
            raise ProviderError(
                f"`{written}` is not a provider with options: {f'`{pair}`' if pair else 'nothing'} "
                "is where OPTION=VALUE should be. Write them as in `cuda:device_id=1,use_tf32=1`."
            )
        if option in options:
            raise ProviderError(f"`{written}` gives `{option}` twice. Give it once.")
        options[option] = value
    return name.strip(), options


def check_options(provider: str, options: Mapping[str, Value]) -> dict[str, str]:
    """Return options of a provider as ONNX Runtime reads them.

    Raises:
        ProviderError: The provider has no such option, or the option no such value.
    """
    known = OPTIONS[provider]
    checked: dict[str, str] = {}
    for name, value in options.items():
        if name not in known:
            listed = f"known are: {describe_options(provider)}" if known else "it takes none"
            raise ProviderError(f"`{provider}` has no option `{name}`; {listed}.")
        written = known[name].write(value)
        if written is None:
            raise ProviderError(
                f"`{name}` of `{provider}` is `{value}`; it must be {known[name].text}."
            )
        checked[name] = written
    return checked


def describe_options(provider: str) -> str:
    """Return the options of a provider with their values, as `device_id (an integer), …`."""
    return ", ".join(f"{name} ({kind.text})" for name, kind in OPTIONS[provider].items())
