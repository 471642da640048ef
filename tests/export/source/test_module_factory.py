"""The rules for `module`, `FILE.py:FACTORY`."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import pytest
from torch import nn

from edgernn.errors import InputError, SourceError
from edgernn.export.source.module_factory import (
    Factory,
    call_factory,
    folders_on_path,
    import_code,
)

CODE = """
from torch import nn
from part import WIDTH

class Net(nn.Sequential):
    def __init__(self, width=WIDTH):
        super().__init__(nn.Linear(width, 1))

class Wide(Net):
    def __init__(self, width, *rest, depth, **more):
        super().__init__(width)

def make():
    return Net(3)

def broken():
    raise OSError("no data set")

ready = Net(4)
number = 3

def text():
    return "a model"
"""
KNOWN = " `net.py` has `Net`, `Wide`, `make`, `broken`, `ready`, `text`."


@pytest.fixture
def file(tmp_path):
    (tmp_path / "part.py").write_text("WIDTH = 2\n")
    (tmp_path / "net.py").write_text(CODE)
    yield tmp_path / "net.py"
    sys.modules.pop("part", None)


def model(file, factory) -> Any:
    return call_factory(*import_code(f"{file}:{factory}"))


@pytest.mark.parametrize(("factory", "width"), [("Net", 2), ("make", 3), ("ready", 4)])
def test_a_class_a_function_or_a_module_makes_the_model(file, factory, width):
    """FACTORY is a class or function without required arguments, or a module."""
    assert model(file, factory)[0].in_features == width


def test_import_leaves_path_and_public_names_alone(file):
    """The file is imported under a private name and its folder leaves sys.path again."""
    before = list(sys.path)
    code, factory = import_code(f"{file}:Net")
    assert (factory, sys.path) == ("Net", before)
    assert code is not None
    assert code.__name__.startswith("_edgernn_net_")
    assert "net" not in sys.modules


def test_a_file_alone_has_no_factory(file):
    """FILE.py without FACTORY is enough for looking up classes, not for making a model."""
    code, factory = import_code(str(file))
    assert factory is None
    with pytest.raises(SourceError) as info:
        call_factory(code, factory)
    assert str(info.value) == (
        f'`net.py` is given without a factory. Give module="{file}:FACTORY".{KNOWN}'
    )


def test_a_file_with_one_factory_is_given_with_it(tmp_path, monkeypatch):
    """The only class of modules, or else the only definition, is in the message; it is right."""
    monkeypatch.chdir(tmp_path)
    code = "from torch import nn\ndef make():\n    return nn.Linear(2, 3)\n"
    (tmp_path / "one.py").write_text(code)
    (tmp_path / "net.py").write_text(f"{code}class Net(nn.Flatten):\n    pass\n")
    with pytest.raises(SourceError) as info:
        call_factory(*import_code("one.py"))
    assert str(info.value) == '`one.py` is given without a factory. Give module="one.py:make".'
    assert call_factory(*import_code("one.py:make")).in_features == 2
    with pytest.raises(SourceError) as info:
        call_factory(*import_code("net.py"))
    assert str(info.value) == '`net.py` is given without a factory. Give module="net.py:Net".'


FAULTS = {
    "Missing": f"`Missing` in `net.py` does not exist.{KNOWN}",
    "Wide": (
        "`Wide` in `net.py` needs `width`, `depth`; a factory takes no required argument. Add a "
        "function to the file, such as `def make(): return Wide(width=…, depth=…)`, and name that: "
        'module="{folder}/net.py:make".'
    ),
    "broken": ("`broken` in `net.py` failed: OSError: no data set. It must return the model."),
    "text": (f"`text` in `net.py` is or returns a `str`; expected a torch.nn.Module.{KNOWN}"),
    "number": (f"`number` in `net.py` is or returns a `int`; expected a torch.nn.Module.{KNOWN}"),
}


@pytest.mark.parametrize("factory", FAULTS)
def test_a_factory_that_makes_no_model_is_refused(file, factory):
    """What is missing, wants arguments, fails or makes something else is named."""
    with pytest.raises(SourceError) as info:
        model(file, factory)
    assert str(info.value) == FAULTS[factory].format(folder=file.parent)


def test_wrong_forms_are_refused(file, tmp_path):
    """A value that names no Python file is refused with the form."""
    with pytest.raises(InputError) as form:
        import_code("net:Net")
    assert str(form.value) == (
        "`net:Net` is not of the form FILE.py:FACTORY, such as `net.py:Net`, where FACTORY is a "
        "class or function without required arguments."
    )
    with pytest.raises(SourceError) as info:
        import_code(f"{tmp_path / 'no.py'}:Net")
    assert str(info.value) == (
        f"`{tmp_path / 'no.py'}` does not exist. Give `module` the file of the model's code."
    )


def test_code_that_fails_is_named(file):
    """A file that fails while it is imported is named with its error, and forgotten."""
    file.write_text("import nothing_of_the_kind\n")
    before = set(sys.modules)
    with pytest.raises(SourceError) as info:
        import_code(f"{file}:Net")
    assert str(info.value) == (
        f"`{file}` failed while it was imported: ModuleNotFoundError: No module named "
        "'nothing_of_the_kind'. Install what is missing, or repeat this in the folder in which the "
        "training ran."
    )
    assert set(sys.modules) == before
    file.write_text("1 / 0\n")
    with pytest.raises(SourceError) as info:
        import_code(f"{file}:Net")
    assert str(info.value) == (
        f"`{file}` failed while it was imported: ZeroDivisionError: division by zero. It must "
        "define the model when it is imported, without training it."
    )


@pytest.mark.parametrize("marked", [True, False])
def test_a_file_of_a_package_may_import_its_neighbours(tmp_path, monkeypatch, marked):
    """By dots, with or without `__init__.py`, and by the package's name from the current folder."""
    package = f"package_{marked}".lower()
    folder = tmp_path / package / "nets"
    folder.mkdir(parents=True)
    if marked:
        (tmp_path / package / "__init__.py").touch()
        (folder / "__init__.py").touch()
    (tmp_path / package / "sizes.py").write_text("WIDTH = 2\n")
    (folder / "wide.py").write_text("WIDER = 5\n")
    by_dots = "from ..sizes import WIDTH\nfrom .wide import WIDER\n"
    by_name = f"from {package}.sizes import WIDTH\nfrom {package}.nets.wide import WIDER\n"
    made = "from torch import nn\nready = nn.Linear(WIDTH, WIDER)\n"
    monkeypatch.chdir(tmp_path)
    before = list(sys.path), set(sys.modules)
    for imports in (by_dots, by_name):
        (folder / "net.py").write_text(imports + made)
        assert model(f"{package}/nets/net.py", "ready").weight.shape == (5, 2)
    assert sys.path == before[0]
    for name in set(sys.modules) - before[1]:
        del sys.modules[name]


class Net(nn.Module):
    """A module with a required size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)


def fails() -> nn.Module:
    raise OSError("no data set")


@pytest.mark.parametrize("factory", [lambda: Net(3), partial(Net, 3), Net(3)])
def test_a_callable_or_a_module_makes_the_model(factory: Factory) -> None:
    """In Python the factory itself can be given, in place of its file and name."""
    made = call_factory(*import_code(factory))
    assert isinstance(made, Net)
    assert made.linear.in_features == 3


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            Net,
            "`Net` needs `width`; a factory takes no required argument. Give a function that "
            "calls it with them.",
        ),
        (fails, "`fails` failed: OSError: no data set. It must return the model."),
        (dict, "`dict` is or returns a `dict`; expected a torch.nn.Module."),
    ],
)
def test_a_callable_that_makes_no_model_is_refused(factory: Factory, message: str) -> None:
    """What needs arguments, fails or makes something else is named."""
    with pytest.raises(SourceError) as info:
        call_factory(*import_code(factory))
    assert str(info.value) == message


def test_a_callable_comes_with_the_module_that_defines_it() -> None:
    """Classes of a pickle from `__main__` are looked up there."""
    code, factory = import_code(fails)
    assert code is sys.modules[__name__]
    assert factory is fails


def test_folders_are_on_the_path_while_code_is_imported(tmp_path):
    """First, and not longer than the context lasts."""
    before = list(sys.path)
    with folders_on_path(tmp_path):
        assert sys.path == [str(tmp_path.resolve()), *before]
    assert sys.path == before
