"""Execution providers by name; one that does not really run a graph is refused."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgernn.errors import ContractError, MissingExtraError, ProviderError
from edgernn.extras import install_command
from edgernn.runtime.devices import HOST, ONE_AT_A_TIME, Device
from edgernn.runtime.provider_options import Value, check_options, split_options

__all__ = [
    "AUTO",
    "PROVIDERS",
    "Provider",
    "ProviderTrial",
    "conflicting_builds",
    "find_library",
    "find_provider",
    "node_places",
    "onnxruntime",
    "start_session",
    "try_providers",
]


@dataclass(frozen=True)
class Provider:
    """One execution provider of ONNX Runtime.

    Attributes:
        name: Its name here.
        ort_name: Its name in ONNX Runtime.
        extra: The extra of edgernn that installs it; empty where `packages` do.
        packages: What else to install for it.
        system: The operating system that it needs, as ` on macOS`.
        options: Its options, as ONNX Runtime reads them: those given, and ours where it has others.
        memory: ONNX Runtime's name of the memory in which its states stay.
        library: The shared library that ONNX Runtime loads for it, without prefix and suffix.
    """

    name: str
    ort_name: str
    extra: str = ""
    packages: tuple[str, ...] = ()
    system: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    memory: str = "cpu"
    library: str = ""

    def __str__(self) -> str:
        written = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name}:{written}" if written else self.name

    @property
    def install(self) -> str:
        """The command that installs it."""
        if not self.extra:
            return " ".join(["pip install", *self.packages])
        return install_command(self.extra, *self.packages) + self.system

    @property
    def device(self) -> Device:
        """The device whose memory has its states."""
        if self.memory == HOST.memory:
            return HOST
        number = int(self.options.get("device_id", "0"))
        if self.captures_graphs:
            return Device(self.memory, number, ONE_AT_A_TIME)
        return Device(self.memory, number)

    @property
    def captures_graphs(self) -> bool:
        """Whether its steps are to run as captured CUDA graphs."""
        return self.options.get(_CAPTURE) == "1"

    def session_options(self, capture: bool) -> dict[str, str]:
        """Return what a session is started with: without `capture`, it captures no CUDA graphs."""
        options = {name: value for name, value in self.options.items() if name != _CAPTURE}
        return {**options, _CAPTURE: "1"} if capture else options


AUTO = "auto"
_CAPTURE = "enable_cuda_graph"

# TF32 rounds products to 10 bits; a recurrence amplifies that to about 1e-3.
PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("cpu", "CPUExecutionProvider", "cpu"),
        Provider(
            "cuda",
            "CUDAExecutionProvider",
            "gpu",
            options={"use_tf32": "0"},
            memory="cuda",
            library="onnxruntime_providers_cuda",
        ),
        Provider(
            "tensorrt",
            "TensorrtExecutionProvider",
            "gpu",
            ("tensorrt",),
            memory="cuda",
            library="onnxruntime_providers_tensorrt",
        ),
        Provider("openvino", "OpenVINOExecutionProvider", packages=("onnxruntime-openvino",)),
        Provider(
            "directml", "DmlExecutionProvider", packages=("onnxruntime-directml",), memory="dml"
        ),
        Provider("coreml", "CoreMLExecutionProvider", "cpu", system=" on macOS"),
    )
}

_LIBRARIES = ("libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll")
_WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
# The operators that do a recurrent model's work, before and after ONNX Runtime's fusions.
_WORK = frozenset(
    {
        *("LSTM", "GRU", "RNN", "Scan", "DynamicQuantizeLSTM"),
        *("Gemm", "FusedGemm", "MatMul", "FusedMatMul", "QGemm", "QLinearMatMul"),
        *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits"),
    }
)
# The products of quantized weights → their precision.
_QUANTIZED = {
    **dict.fromkeys(("QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat"), "int8"),
    **dict.fromkeys(("DynamicQuantizeMatMul", "DynamicQuantizeLSTM"), "int8"),
    "MatMulNBits": "int4",
}
# y = tanh(x · w), opset 18: x is (1, 2) float32, w = (1, -1), y is (1, 1).
_SMALL_GRAPH = (
    b'\x08\x08:a\n\x0f\n\x01x\n\x01w\x12\x01a"\x04Gemm\n\x0c\n\x01a\x12\x01y"\x04Tanh\x12\x01g'
    b'*\x13\x08\x02\x08\x01\x10\x01"\x08\x00\x00\x80?\x00\x00\x80\xbfB\x01wZ\x13\n\x01x\x12\x0e\n'
    b"\x0c\x08\x01\x12\x08\n\x02\x08\x01\n\x02\x08\x02b\x13\n\x01y\x12\x0e\n\x0c\x08\x01\x12\x08\n"
    b"\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\x12"
)


@dataclass(frozen=True)
class ProviderTrial:
    """The result of trying one provider.

    Attributes:
        name: The provider.
        works: Whether it ran a small graph.
        reason: Why it did not; empty where it did.
        version: ONNX Runtime's version, or empty where it is not installed.
    """

    name: str
    works: bool
    reason: str
    version: str


def onnxruntime() -> Any:
    """Import and return ONNX Runtime.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            f"Running a model needs ONNX Runtime ({error}): {PROVIDERS['cpu'].install}"
        ) from error
    return onnxruntime


def find_library() -> Path | None:
    """Return ONNX Runtime's shared library, which programs in C load, without importing it.

    Returns:
        Its absolute path inside the Python package; None where that is not installed.
    """
    spec = find_spec("onnxruntime")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in _LIBRARIES:
            for file in sorted(Path(folder, "capi").glob(name)):
                return file.absolute()
    return None


def find_provider(written: str, options: Mapping[str, Value] | None = None) -> Provider:
    """Return a provider with its options.

    Args:
        written: Its name, or its name and options, as `cuda:device_id=1,use_tf32=1`.
        options: More options; they replace those of the same name.

    Raises:
        ProviderError: There is none of that name, or it has no such option or value.
    """
    name, given = split_options(written)
    if name not in PROVIDERS:
        known = ", ".join([AUTO, *PROVIDERS])
        raise ProviderError(f"`{name}` is not a provider; known are: {known}.")
    provider = PROVIDERS[name]
    checked = check_options(name, {**given, **(options or {})})
    return replace(provider, options={**provider.options, **checked})


def conflicting_builds() -> str | None:
    """Describe the conflict of several builds of ONNX Runtime in one folder; None without one."""
    folders: dict[Path, list[str]] = {}
    for wheel in _WHEELS:
        if _version(wheel):
            folders.setdefault(Path(str(distribution(wheel).locate_file(""))), []).append(wheel)
    installed = max(folders.values(), key=len, default=[])
    if len(installed) < 2:
        return None
    return (
        f"{' and '.join(f'`{wheel}`' for wheel in installed)} are both installed and overwrite "
        f"each other's files. Keep one: `pip uninstall -y {' '.join(installed)}`, then install "
        "the one you want again."
    )


def start_session(
    model: str | bytes, provider: Provider, options: Any = None, capture: bool = False
) -> Any:
    """Start a session whose recurrent layers and products run on `provider`.

    Args:
        model: The path of an ONNX file, or its content.
        provider: Where to run it.
        options: ONNX Runtime's SessionOptions; set to record which provider runs each node.
        capture: Whether runs are captured as CUDA graphs and replayed.

    Raises:
        ProviderError: The provider does not run here, or not this graph.
        ContractError: ONNX Runtime cannot load the graph.
    """
    ort = onnxruntime()
    if options is None:
        options = quiet_options()
    if provider.name == "cpu":
        return _load(ort, model, options, [provider.ort_name])
    _require(ort, provider)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    with contextlib.redirect_stdout(io.StringIO()):
        order = [(provider.ort_name, provider.session_options(capture)), PROVIDERS["cpu"].ort_name]
        try:
            session = _load(ort, model, options, order)
        except ContractError as error:
            raise _refusal(provider, str(error.__cause__).strip()) from error
    if provider.ort_name not in session.get_providers():
        raise _refusal(provider, "ONNX Runtime could not start it and fell back to the CPU")
    _check_placement(session, provider)
    return session


def quiet_options() -> Any:
    """Return SessionOptions that keep ONNX Runtime's log off stderr; errors are raised anyway."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 4
    return options


def try_provider(provider: Provider) -> None:
    """Run a small graph on `provider`.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        ProviderError: The provider does not run here.
    """
    import numpy as np

    session = start_session(_SMALL_GRAPH, provider)
    (y,) = session.run(None, {"x": np.array([[0.75, 0.25]], np.float32)})
    if abs(float(y[0, 0]) - np.tanh(0.5)) > 1e-2:
        raise _refusal(provider, f"it computed tanh(0.5) as {float(y[0, 0]):.4f}")


def try_providers() -> list[ProviderTrial]:
    """Try every provider with a small graph."""
    return [_trial(provider) for provider in PROVIDERS.values()]


def _trial(provider: Provider) -> ProviderTrial:
    release = next((found for wheel in _WHEELS if (found := _version(wheel))), "")
    reason = ""
    try:
        try_provider(provider)
    except (ProviderError, MissingExtraError, ContractError) as error:
        reason = str(error).removeprefix(_subject(provider))
    return ProviderTrial(name=provider.name, works=not reason, reason=reason, version=release)


def _load(ort: Any, model: str | bytes, options: Any, order: list[Any]) -> Any:
    try:
        return ort.InferenceSession(model, options, providers=order, enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        name = "The graph" if isinstance(model, bytes) else f"`{model}`"
        if isinstance(model, str) and "protobuf" in str(error).lower():
            raise ContractError(
                f"{name} is not an ONNX graph, or not a whole one: ONNX Runtime cannot parse it. "
                "`edgernn export MODEL` writes graphs."
            ) from error
        raise ContractError(
            f"{name} cannot be loaded by ONNX Runtime {ort.__version__}: {error}"
        ) from error


def _require(ort: Any, provider: Provider) -> None:
    """Check what is known of a provider before a session is started."""
    clash = conflicting_builds()
    if clash:
        raise ProviderError(f"`{provider.name}` cannot be used: {clash}")
    if provider.ort_name not in ort.get_available_providers():
        raise _refusal(provider, f"the ONNX Runtime {ort.__version__} installed here lacks it")
    if provider.memory == "cuda" and hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what is missing
            ort.preload_dlls()
    missing = _missing_library(ort, provider)
    if missing:
        raise _refusal(provider, missing)


def _missing_library(ort: Any, provider: Provider) -> str:
    """Return the loader's message about a missing library of the provider, or an empty text."""
    file = Path(ort.__file__).parent / "capi" / f"lib{provider.library}.so"
    if sys.platform != "linux" or not provider.library or not file.is_file():
        return ""
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        # Other failures of a bare dlopen, such as ONNX Runtime's own symbols, prove nothing.
        return str(error) if "cannot open shared object file" in str(error) else ""
    return ""


def _check_placement(session: Any, provider: Provider) -> None:
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise _refusal(provider, "this ONNX Runtime cannot tell where it runs a node")
    here: set[str] = set()
    elsewhere: dict[str, str] = {}
    for operator, place in node_places(session):
        if place == provider.ort_name:
            here.add(operator)
        elif operator in _WORK:
            elsewhere[operator] = place
    if elsewhere:
        where = ", ".join(f"`{operator}` on {place}" for operator, place in elsewhere.items())
        precision = next((_QUANTIZED[one] for one in elsewhere if one in _QUANTIZED), None)
        remedy = (
            f"It lacks the products of {precision} weights: export the model in float16 or "
            "float32, or run it with provider `cpu`."
            if precision
            else "Run it with provider `cpu`."
        )
        raise ProviderError(
            f"`{provider.name}` does not run this graph's work: ONNX Runtime put {where}. {remedy}"
        )
    if not here:
        raise _refusal(provider, "ONNX Runtime gave it no node of this graph")


def node_places(session: Any) -> Iterator[tuple[str, str]]:
    """Yield the operator and the provider of every node of a session that recorded them."""
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            yield node.op_type, part.ep_name


def _refusal(provider: Provider, reason: str) -> ProviderError:
    return ProviderError(f"{_subject(provider)}{reason}. Install it: {provider.install}")


def _subject(provider: Provider) -> str:
    return f"`{provider.name}` does not run here: "


def _version(wheel: str) -> str:
    try:
        return version(wheel)
    except PackageNotFoundError:
        return ""
