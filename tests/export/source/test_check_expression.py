"""The rules for expressions of sizes in archives."""

from __future__ import annotations

import pytest

from edgernn.export.source.check_expression import check_expression

SIZES = [
    "s0",
    "Symbol('s13', positive=True, integer=True)",
    "Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(-1))",
    "FloorDiv(Symbol('s0'), Integer(2))",
    "Mul(Float('0.5', precision=53), Pow(Symbol('s0'), Integer(2)))",
    "Max(1, s0 // 2 + 3 * s1 - 1)",
    "s0 ** 2 < 2 * s1",
    "Pow(Symbol('s0'), Rational(1, 2))",
    "s0 ** Integer(-2)",
    "Eq(Symbol('u0'), 4)",
]


@pytest.mark.parametrize("text", SIZES)
def test_what_torch_writes_is_taken(text: str) -> None:
    """Names, numbers, operators and functions of sizes come out as they went in."""
    assert check_expression(text) == text


REFUSED = {
    "__import__('os')": "`__import__` is not a function of sizes",
    "s0.__class__": "it has a Attribute in it",
    "[s0][0]": "it has a Subscript in it",
    "(lambda: 1)()": "it has a Call in it",
    "exec('1')": "`exec` is not a function of sizes",
    "Symbol('s0 + exec')": "a symbol has no plain name",
    "Symbol('s0', commutative=exec)": "`Symbol` has something that is not a constant",
    "Max(*s0)": "it has a Starred in it",
    "Max(s0, key=s1)": "`Max` is not a function of sizes",
    "'text'": "it has a Constant in it",
    "9 ** 9 ** 9": "it has a power that is too large",
    "2 ** 99": "it has a power that is too large",
    "Pow(Pow(2, 9), 9)": "it has a power that is too large",
    "2 ** Max(2, 99)": "it has a power that is too large",
    "2 ** Integer(99)": "it has a power that is too large",
    "s0 ** print(2, exec('1'))": "`print` is not a function of sizes",
    "s0 ** Integer(2, exec('1'))": "`exec` is not a function of sizes",
    "s0 ** -print(2, exec('1'))": "`print` is not a function of sizes",
    "LShift(1, s0)": "it has a power that is too large",
    "1" * 30: "it has a number that is too long",
    "s0 ^ 2": "it has a BitXor in it",
    "s0 if s1 else s2": "it has a IfExp in it",
    "s0 +": "it cannot be read",
    "s0+" * 400 + "s0": "it is too long",
    "s0" * 2000: "it has 4000 characters",
    "(" * 500 + "s0" + ")" * 500: "it cannot be read",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_anything_else_is_refused(text: str) -> None:
    """What could be more than a size is refused with what it is."""
    with pytest.raises(ValueError, match=r"^.") as info:
        check_expression(text)
    assert str(info.value) == REFUSED[text]
