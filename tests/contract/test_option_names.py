"""How messages name options, in Python and on the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgernn.cli.command_options import flags_of
from edgernn.declared_options import declarations
from edgernn.export.options import ExportOptions
from edgernn.option_names import flags_in_messages, option, repeat_with

ROOT = Path(__file__).parents[2]
FLAGS = flags_of(ExportOptions)

FORMS: dict[str, tuple[str, Any, str, str]] = {
    "a text": ("graph", "sequence", 'graph="sequence"', "--graph sequence"),
    "a number": ("opset", 17, "opset=17", "--opset 17"),
    "a switch": ("assume_plain", True, "assume_plain=True", "--assume-plain"),
    "the name alone": ("path", None, "`path`", "`--output`"),
    "a list": (
        "inputs",
        ["x:float32[batch,4]", "rate:int64[]=8000", "n<3"],
        'inputs=["x:float32[batch,4]", "rate:int64[]=8000", "n<3"]',
        '--input "x:float32[batch,4]" --input "rate:int64[]=8000" --input "n<3"',
    ),
    "pairs, with a position": (
        "states",
        {"h": "h_next", "c": "1", "s": 2},
        'states={"h": "h_next", "c": 1, "s": 2}',
        "--state h=h_next --state c=1 --state s=2",
    ),
    "what a shell would change": (
        "states",
        {"hx[0]": '["hx"][0]'},
        r'states={"hx[0]": "[\"hx\"][0]"}',
        """--state 'hx[0]=["hx"][0]'""",
    ),
    "a space": ("module", "my net.py:A", 'module="my net.py:A"', '--module "my net.py:A"'),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    """A value is written as one gives it, to be pasted."""
    name, value, argument, flag = FORMS[form]
    assert option(name, value) == argument
    with flags_in_messages(FLAGS):
        assert option(name, value) == flag
    assert option(name, value) == argument


def test_a_call_is_repeated_with_more_options() -> None:
    """The command line is given whole, as it was and with what is added."""
    added = {"trust": True, "module": "net.py:Net"}
    assert repeat_with(**added) == 'repeat with trust=True, module="net.py:Net"'
    with flags_in_messages(FLAGS, ["edgernn", "export", "my model.pt", "--opset", "17"]):
        assert repeat_with(**added) == (
            'repeat it as `edgernn export "my model.pt" --opset 17 --trust --module net.py:Net`'
        )
    with flags_in_messages(FLAGS):
        assert repeat_with(**added) == "repeat with --trust --module net.py:Net"


def sources() -> Iterator[Path]:
    """Yield the modules that Python calls too."""
    for folder in ("edgernn", "export", "runtime"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "cli" not in path.relative_to(ROOT).parts:
                yield path


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a module that are not documentation."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
        ):
            yield node.value


DECLARED = {flag for one in declarations(ExportOptions) for flag in one.option.flags}
OF_COMMANDS = {"command_examples.py", "model_card.py", "hosts.py", "embed.py"}
"""Where the commands of the model card are, and those of compilers and other tools."""


def test_no_message_names_a_flag_by_hand() -> None:
    """Only declarations and commands have flags in them."""
    found = {
        (str(path.relative_to(ROOT)), text)
        for path in sources()
        if path.name not in OF_COMMANDS
        for text in texts(ast.parse(path.read_text("utf-8")))
        if re.search(r"(?<![\w-])(--[a-z]|-o\b)", text) and text not in DECLARED
    }
    assert found == set()


def test_messages_name_declared_options() -> None:
    """Each name that a message hands to `option` and `repeat_with` is one of a declared option."""
    names: set[str] = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "option" and isinstance(node.args[0], ast.Constant):
                names.add(str(node.args[0].value))
            elif node.func.id == "repeat_with":
                names |= {one.arg for one in node.keywords if one.arg}
    assert {"inputs", "states", "module", "trust"} <= names <= set(FLAGS)
