"""The rules for code that would train when it is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgernn.export.source.import_effects import import_warning, syntax_tree

TRAINS = {
    "a loop that trains": ("for x in data:\n    loss(x).backward()\n", 2, "loss(x).backward"),
    "a file that is saved": ("import torch\ntorch.save({}, 'm.pt')\n", 2, "torch.save"),
    "a function that trains": ("def main(): ...\n\nmain()\n", 3, "main"),
    "in a block": ("try:\n    with on():\n        train()\nfinally:\n    ...\n", 3, "train"),
    "another condition": ("if DEBUG:\n    trainer.fit(net)\n", 2, "trainer.fit"),
}


@pytest.mark.parametrize("case", TRAINS)
def test_what_trains_is_named_with_its_line(case: str, tmp_path: Path) -> None:
    """A call outside of functions that trains or saves would run again."""
    file = tmp_path / "train.py"
    code, line, call = TRAINS[case]
    file.write_text(code)
    assert import_warning(file) == (
        f"`train.py` would train or save a model when it is imported: line {line} calls `{call}`. "
        'Put that under `if __name__ == "__main__":`, or end the script with '
        "`edgernn.export_model(model)`."
    )


DEFINES = {
    "within a function": "def run():\n    loss.backward()\n",
    "within a class": "class A:\n    def fit(self):\n        torch.save(self, 'm.pt')\n",
    "under the condition": "if __name__ == '__main__':\n    main()\n    torch.save({}, 'm.pt')\n",
    "a mode of a module": "model = Net()\nmodel.train()\nfor name in names:\n    print(name)\n",
    "nothing that is Python": "def (",
}


@pytest.mark.parametrize("case", DEFINES)
def test_what_defines_is_imported(case: str, tmp_path: Path) -> None:
    """Definitions, and what runs in the script alone, are no reason."""
    file = tmp_path / "net.py"
    file.write_text(DEFINES[case])
    assert import_warning(file) == ""


def test_only_files_of_usual_size_are_read(tmp_path: Path) -> None:
    """A folder, a missing file, one too large or too deep for the parser has no tree."""
    large, deep = tmp_path / "large.py", tmp_path / "deep.py"
    large.write_text("#" * 1_000_001)
    deep.write_text("(" * 5000)
    for file in (tmp_path, tmp_path / "missing.py", large, deep):
        assert syntax_tree(file) is None
    assert large.write_text("#" * 1_000_000) == 1_000_000
    assert syntax_tree(large) is not None
