"""The reader and player of the code blocks of pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.page_blocks import Block, check_output, page_blocks, play, run

PAGE = """# A page

Save as `model.py`:

```python
print("model")
```

Run it:

```sh
python model.py
```

```text
model
```

- In a list, too:

  ```sh
  echo one; echo two >&2
  ```

  ```text
  one
  two
  ```

```console
$ not run
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, "utf-8")
    return path


def sh(text: str, output: str | None = None) -> Block:
    """Return a block of commands that shows `output`."""
    return Block(Path("page.md"), 1, "sh", text, output=output)


def test_blocks_are_found(page: Path) -> None:
    """A block has its line, language, file and output; an output is not a block of its own."""
    assert page_blocks(page) == [
        Block(page, 6, "python", 'print("model")\n', file="model.py"),
        Block(page, 12, "sh", "python model.py\n", output="model\n"),
        Block(page, 22, "sh", "echo one; echo two >&2\n", output="one\ntwo\n"),
        Block(page, 31, "console", "$ not run\n"),
    ]
    assert [str(block) for block in page_blocks(page, "sh")] == ["page.md:12", "page.md:22"]


def test_page_is_played(page: Path, tmp_path: Path) -> None:
    """Files are written, commands run in order, both streams are compared as they come."""
    play(page_blocks(page), tmp_path)
    assert (tmp_path / "model.py").read_text("utf-8") == 'print("model")\n'


def test_edgernn_is_that_of_the_checkout(tmp_path: Path) -> None:
    """`edgernn` and `python` are on the path, with the packages of the tests."""
    block = sh("edgernn --version\npython -c 'import edgernn, numpy; print(edgernn.__file__)'\n")
    version, file = run(block, tmp_path).splitlines()
    assert version.startswith("edgernn")
    assert Path(file).parents[1].samefile(Path(__file__).parents[2])


def test_python_is_run(tmp_path: Path) -> None:
    """A Python block without a file name runs as a script would."""
    block = Block(Path("page.md"), 1, "python", "print(1 + 1)\n", output="2\n")
    play([block], tmp_path)


def test_first_failing_command_ends_the_block(tmp_path: Path) -> None:
    """A command that fails fails the block, with all that was printed."""
    with pytest.raises(AssertionError) as caught:
        run(sh("echo before\nfalse\necho after\n"), tmp_path)
    assert str(caught.value) == "page.md:1 failed:\nbefore\n"


def test_refusal_is_shown(tmp_path: Path) -> None:
    """A block whose page shows an error must fail with it."""
    play([sh("echo Error: no model; exit 1\n", "Error: no model\n")], tmp_path)
    with pytest.raises(AssertionError) as caught:
        play([sh("echo Error: no model\n", "Error: no model\n")], tmp_path)
    assert str(caught.value) == "page.md:1 succeeded:\nError: no model\n"


def test_installs_are_not_run(tmp_path: Path) -> None:
    """Lines that install packages are left out, and nothing else."""
    assert (
        run(sh("pip install no-such-package\nnpm install none\necho here\n"), tmp_path) == "here\n"
    )


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("wrote out.csv: 200 steps, 0.4 s\n", "wrote out.csv: 200 steps, 12.31 s\n"),
        ("step.onnx 353.8 kB\n", "step.onnx 9 kB\n"),
        ("max difference 2.1e-06 over 29 checks\n", "max difference 3e-07 over 29 checks\n"),
        ("loss 0.162 after 40 readings\n", "loss 0.2 after 40 readings\n"),
        ("20.51,-0.31\n", "20.42,-0.32\n"),
        ("name    value\n", "name  value  \n"),
    ],
    ids=["time", "size", "difference", "loss", "number", "spaces"],
)
def test_what_depends_on_the_machine_is_masked(shown: str, printed: str) -> None:
    """Times, sizes, differences, losses and the last digits of numbers may differ."""
    check_output(sh("", shown), printed)


@pytest.mark.parametrize(
    ("shown", "printed", "message"),
    [
        ("a\n", "b\n", "page.md:1: 'b' came for 'a':\nb\n"),
        ("a\nb\n", "a\n", "page.md:1: does not print line 2 'b':\na\n"),
        ("a\n", "a\nb\n", "page.md:1: prints a further line 'b':\na\nb\n"),
        ("200 steps\n", "201 steps\n", "page.md:1: '201 steps' came for '200 steps':\n201 steps\n"),
        ("20.5\n", "21.5\n", "page.md:1: '21.5' came for '20.5':\n21.5\n"),
        ("by 2e-06\n", "by 2e-04\n", "page.md:1: 'by 2e-04' came for 'by 2e-06':\nby 2e-04\n"),
        ("0.5\n", "a 0.5 0.5\n", "page.md:1: 'a 0.5 0.5' came for '0.5':\na 0.5 0.5\n"),
        ("0.4 s\n", "0.4 s\n", "page.md:1: there is nothing to compare"),
        ("\n", "\n", "page.md:1: there is nothing to compare"),
    ],
    ids=["text", "missing", "further", "count", "number", "gap", "parts", "only masks", "empty"],
)
def test_differences_are_found(shown: str, printed: str, message: str) -> None:
    """Text, counts, numbers and missing lines are compared; an empty comparison fails."""
    with pytest.raises(AssertionError) as caught:
        check_output(sh("", shown), printed)
    assert str(caught.value) == message


def test_page_without_output_fails(tmp_path: Path) -> None:
    """Playing blocks that show nothing is not a comparison."""
    with pytest.raises(AssertionError) as caught:
        play([sh("true\n")], tmp_path)
    assert str(caught.value) == "no block shows an output"
