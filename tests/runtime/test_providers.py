"""The provider that was asked for, or an error."""

from __future__ import annotations

import ctypes
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import onnxruntime
import pytest

import edgernn
from edgernn.errors import ContractError, EdgernnError, MissingExtraError, ProviderError
from edgernn.extras import install_command
from edgernn.runtime import providers
from edgernn.runtime.providers import (
    PROVIDERS,
    ProviderTrial,
    conflicting_builds,
    find_library,
    find_provider,
    start_session,
    try_provider,
    try_providers,
)

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
INSTALL = f"Install it: {install_command('gpu')}"


@pytest.fixture
def wheels(monkeypatch):
    """Have the named wheels installed, at version 1.2.3, all but those of `apart` in one folder."""

    def install(*names, apart=()):
        def version(wheel):
            if wheel not in names:
                raise PackageNotFoundError(wheel)
            return "1.2.3"

        def distribution(wheel):
            folder = wheel if wheel in apart else "site-packages"
            return SimpleNamespace(locate_file=lambda name: f"/{folder}/{name}")

        monkeypatch.setattr(providers, "version", version)
        monkeypatch.setattr(providers, "distribution", distribution)

    return install


@pytest.fixture
def engine(monkeypatch, wheels):
    """Stand in for an ONNX Runtime that lists CUDA; returns what a test changes of it."""
    wheels("onnxruntime-gpu")
    world = SimpleNamespace(running=[CUDA, CPU], places={"Gemm": CUDA, "Tanh": CUDA}, asked=None)

    class Session:
        def __init__(self, model, options, providers, enable_fallback):
            if isinstance(world.running, Exception):
                raise world.running
            world.asked = (providers, enable_fallback, options.entries)

        def get_providers(self):
            return world.running

        def get_provider_graph_assignment_info(self):
            return [
                SimpleNamespace(
                    ep_name=place, get_nodes=lambda name=name: [SimpleNamespace(op_type=name)]
                )
                for name, place in world.places.items()
            ]

    class Options:
        def __init__(self):
            self.entries = {}

        def add_session_config_entry(self, key, value):
            self.entries[key] = value

    fake = SimpleNamespace(
        __file__="/nowhere/onnxruntime/__init__.py",
        __version__="1.2.3",
        InferenceSession=Session,
        SessionOptions=Options,
        get_available_providers=lambda: [CUDA, CPU],
        preload_dlls=lambda: print("Failed to load libcublas"),
    )
    monkeypatch.setattr(providers, "onnxruntime", lambda: fake)
    world.fake = fake
    return world


def refused(call, *arguments, error: type[EdgernnError] = ProviderError):
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def test_the_cpu_works():
    """The CPU runs the small graph and gives its numbers."""
    try_provider(find_provider("cpu"))


def test_a_provider_that_is_not_there_is_refused(lstm):
    """CUDA on an ONNX Runtime without it is an error, never a session on the CPU."""
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    assert refused(lambda: edgernn.load(lstm, provider="cuda")) == (
        f"`cuda` does not run here: the ONNX Runtime {onnxruntime.__version__} installed here "
        f"lacks it. {INSTALL}"
    )


def test_cuda_runs_without_tf32_and_without_fallback(engine, capsys):
    """CUDA starts without TF32 and fallback, and records where nodes run; nothing is printed."""
    start_session(b"", find_provider("cuda"))
    order, fallback, entries = engine.asked
    assert order == [(CUDA, {"use_tf32": "0"}), CPU]
    assert fallback == 0
    assert entries == {"session.record_ep_graph_assignment_info": "1"}
    assert capsys.readouterr().out == ""


def test_a_session_that_fell_back_is_refused(engine):
    """A session without the requested provider is refused."""
    engine.running = [CPU]
    assert refused(start_session, b"", find_provider("cuda")) == (
        "`cuda` does not run here: ONNX Runtime could not start it and fell back to the CPU. "
        + INSTALL
    )


def test_work_on_another_provider_is_refused(engine):
    """Recurrent and matrix nodes must run on the requested provider; small ones need not."""
    engine.places = {"LSTM": CPU, "Gemm": CUDA, "Shape": CPU}
    assert refused(start_session, b"", find_provider("cuda")) == (
        f"`cuda` does not run this graph's work: ONNX Runtime put `LSTM` on {CPU}. Run it with "
        "provider `cpu`."
    )
    engine.places = {"LSTM": CUDA, "Shape": CPU}
    start_session(b"", find_provider("cuda"))


@pytest.mark.parametrize(
    ("operator", "precision"),
    [("MatMulInteger", "int8"), ("DynamicQuantizeLSTM", "int8"), ("MatMulNBits", "int4")],
)
def test_a_precision_that_the_provider_lacks_is_refused(engine, operator, precision):
    """Where the products of quantized weights are not there, the remedy is another precision."""
    engine.places = {operator: CPU, "Sigmoid": CUDA}
    assert refused(start_session, b"", find_provider("cuda")) == (
        f"`cuda` does not run this graph's work: ONNX Runtime put `{operator}` on {CPU}. It lacks "
        f"the products of {precision} weights: export the model in float16 or float32, or run it "
        "with provider `cpu`."
    )


def test_a_provider_without_nodes_is_refused(engine):
    """A session in which the provider has no node at all is refused."""
    engine.places = {"Tanh": CPU}
    assert refused(start_session, b"", find_provider("cuda")) == (
        f"`cuda` does not run here: ONNX Runtime gave it no node of this graph. {INSTALL}"
    )


def test_a_provider_that_raises_is_refused(engine):
    """The reason is ONNX Runtime's message about the session that it cannot start."""
    engine.running = RuntimeError("CUDA failure 100: no device\n")
    assert refused(start_session, b"", find_provider("cuda")) == (
        f"`cuda` does not run here: CUDA failure 100: no device. {INSTALL}"
    )


def test_a_missing_library_is_named(engine, monkeypatch, tmp_path):
    """Where the provider's library needs a missing one, the reason is the loader's message."""
    capi = tmp_path / "capi"
    capi.mkdir()
    (capi / "libonnxruntime_providers_cuda.so").touch()
    engine.fake.__file__ = str(tmp_path / "__init__.py")
    words = "libcublasLt.so.13: cannot open shared object file: No such file or directory"

    def load(path):
        assert path == str(capi / "libonnxruntime_providers_cuda.so")
        raise OSError(words)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(sys, "platform", "linux")
    assert (
        refused(start_session, b"", find_provider("cuda"))
        == f"`cuda` does not run here: {words}. {INSTALL}"
    )
    words = "undefined symbol: Provider_GetHost"
    start_session(b"", find_provider("cuda"))


def test_an_engine_that_cannot_tell_places_is_refused(engine):
    """Without a record of where nodes run, a provider is refused."""
    del engine.fake.InferenceSession.get_provider_graph_assignment_info
    assert refused(start_session, b"", find_provider("cuda")) == (
        "`cuda` does not run here: this ONNX Runtime cannot tell where it runs a node. " + INSTALL
    )


def test_two_builds_in_one_environment_are_refused(engine, wheels):
    """With two builds installed, every provider but the CPU is refused, with the remedy."""
    wheels("onnxruntime", "onnxruntime-gpu")
    remedy = (
        "`onnxruntime` and `onnxruntime-gpu` are both installed and overwrite each other's files. "
        "Keep one: `pip uninstall -y onnxruntime onnxruntime-gpu`, then install the one you want "
        "again."
    )
    assert conflicting_builds() == remedy
    assert refused(start_session, b"", find_provider("cuda")) == f"`cuda` cannot be used: {remedy}"


def test_two_builds_in_two_folders_are_no_conflict(wheels):
    """Builds in folders of their own overwrite nothing: the first on the path is the one."""
    wheels("onnxruntime", "onnxruntime-gpu", apart=["onnxruntime-gpu"])
    assert conflicting_builds() is None
    wheels("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", apart=["onnxruntime-gpu"])
    assert "`onnxruntime` and `onnxruntime-openvino` are both" in str(conflicting_builds())


@pytest.mark.parametrize("installed", [(), ("onnxruntime",), ("onnxruntime-gpu",)])
def test_one_build_is_no_conflict(wheels, installed):
    """One build or none is not a conflict."""
    wheels(*installed)
    assert conflicting_builds() is None


def test_a_missing_engine_is_one_sentence(monkeypatch, lstm):
    """Without ONNX Runtime the error has the line that installs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert refused(lambda: edgernn.load(lstm), error=MissingExtraError) == (
        "Running a model needs ONNX Runtime (import of onnxruntime halted; None in sys.modules): "
        f"{install_command('cpu')}"
    )


def test_the_library_is_onnxruntime():
    """The library that is found, is ONNX Runtime's."""
    path = find_library()
    assert path is not None
    assert path.is_absolute()
    base = ctypes.CDLL(str(path)).OrtGetApiBase
    base.restype = ctypes.POINTER(ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32))
    version = ctypes.cast(base()[1], ctypes.CFUNCTYPE(ctypes.c_char_p))
    assert version().decode() == onnxruntime.__version__


@pytest.mark.parametrize("name", ["libonnxruntime.1.31.1.dylib", "onnxruntime.dll"])
def test_the_library_of_other_systems(monkeypatch, tmp_path, name):
    """It is found without importing the package, which may be broken."""
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError")
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_library() is None
    (tmp_path / "onnxruntime" / "capi" / name).touch()
    assert find_library() == tmp_path / "onnxruntime" / "capi" / name


def test_no_library_without_onnxruntime(monkeypatch):
    """Without the package there is no library."""
    monkeypatch.setattr(providers, "find_spec", lambda name: None)
    assert find_library() is None


def test_every_provider_is_tried(monkeypatch):
    """Every provider has a record: works, or the reason why not, and ONNX Runtime's version."""

    def fail_but_on_cpu(provider):
        if provider.name != "cpu":
            raise ProviderError(f"no {provider.name}")

    monkeypatch.setattr(providers, "try_provider", fail_but_on_cpu)
    monkeypatch.setattr(providers, "version", lambda wheel: "1.2.3")
    assert try_providers() == [
        ProviderTrial(name, name == "cpu", "" if name == "cpu" else f"no {name}", "1.2.3")
        for name in PROVIDERS
    ]


def test_a_broken_graph_is_the_graphs_fault():
    """A graph that does not load on the CPU is a ContractError."""
    message = refused(start_session, b"no graph", find_provider("cpu"), error=ContractError)
    assert message.startswith(
        f"The graph cannot be loaded by ONNX Runtime {onnxruntime.__version__}: "
    )
