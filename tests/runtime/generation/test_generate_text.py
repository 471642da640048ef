"""Text that a model writes, compared with a loop over the model in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgernn
from edgernn.errors import InputError, StateError, UnsupportedModelError
from edgernn.runtime import Model
from edgernn.vocabulary import Vocabulary
from tests.nets import embedded_lstm
from tests.runtime.generation.conftest import LETTERS, WORDS, write

PROMPTS = ["abc", "d", "abc", "ccccba", "ad", "bbdbbdb"]


def by_hand(prompt: str, count: int) -> str:
    """Return the best symbols that follow, each from a run over all of the text before it."""
    text = prompt
    for _ in range(count):
        ids = np.array([["abcd".index(letter)] for letter in text])
        text += "abcd"[int(embedded_lstm.reference(ids)[0][-1, 0].argmax())]
    return text[len(prompt) :]


def texts(model: Model, prompts: list[str], count: int, **options: Any) -> list[str]:
    """Return the text that follows each prompt."""
    pieces = edgernn.generate(model, prompts, count, **options)
    return ["".join(text) for text in zip(*pieces, strict=True)]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_best_symbols(letters: Model, prompt: str) -> None:
    """Without options, the best symbol follows each time."""
    assert "".join(edgernn.generate(letters, prompt, 9)) == by_hand(prompt, 9)


def test_several_prompts(letters: Model) -> None:
    """Prompts of several lengths side by side are continued as each alone."""
    assert texts(letters, PROMPTS, 9) == [by_hand(prompt, 9) for prompt in PROMPTS]


@pytest.mark.parametrize("kinds", [("sequence",), ("step",)])
def test_one_graph(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """Either graph alone does the same."""
    assert texts(write(tmp_path, kinds=kinds), PROMPTS, 5) == [by_hand(p, 5) for p in PROMPTS]


def test_a_constant_batch(one_by_one: Model) -> None:
    """A model of batch 1 runs the prompts one after another."""
    assert texts(one_by_one, PROMPTS, 9) == [by_hand(prompt, 9) for prompt in PROMPTS]


def test_a_largest_batch(tmp_path: Path) -> None:
    """A model that takes few sequences runs the prompts in several batches."""
    model = write(tmp_path, most={"batch": 2})
    assert texts(model, PROMPTS, 9) == [by_hand(prompt, 9) for prompt in PROMPTS]


def test_long_prompts(letters: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long prompt is read in parts, with the same result."""
    monkeypatch.setattr("edgernn.runtime.generation.generate_text._CHUNK_STEPS", 4)
    assert texts(letters, PROMPTS, 9) == [by_hand(prompt, 9) for prompt in PROMPTS]


DRAWN: dict[str, Any] = {"temperature": 0.4, "top_k": 3, "top_p": 0.9, "seed": 5}


def test_drawn_as_if_alone(letters: Model) -> None:
    """A prompt has its own random numbers, whatever is generated beside it."""
    together = texts(letters, PROMPTS, 40, **DRAWN)
    assert together[0] != together[2]  # the same prompt again
    for place, prompt in enumerate(PROMPTS):
        if place != 2:
            assert "".join(edgernn.generate(letters, prompt, 40, **DRAWN)) == together[place]


def test_seeds(letters: Model) -> None:
    """A seed repeats a text; another seed and no seed give others."""
    drawn = [texts(letters, ["ab"], 60, temperature=1, seed=seed) for seed in (1, 1, 2, None, None)]
    assert drawn[0] == drawn[1]
    assert len({text for (text,) in drawn}) == 4


def test_stop(letters: Model) -> None:
    """Each text ends before the first stop text, and the others go on."""
    whole = texts(letters, PROMPTS, 30, **DRAWN)
    ended = texts(letters, PROMPTS, 30, stop=["bb", "ca"], **DRAWN)
    for text, part in zip(whole, ended, strict=True):
        places = [text.find(stop) for stop in ("bb", "ca") if stop in text]
        assert part == text[: min(places, default=len(text))]
    assert len({len(part) for part in ended}) > 2
    pieces = list(edgernn.generate(letters, "abc", 30, stop=whole[0][:2], **DRAWN))
    assert pieces == []


def test_words(words: Model) -> None:
    """Words are separated by spaces; the space before a stop text is not part of the text."""
    assert WORDS.separator == " "
    prompt = "one two three"
    plain = [["one", "two", "three", "end"]["abcd".index(letter)] for letter in by_hand("abc", 9)]
    pieces = list(edgernn.generate(words, prompt, 9))
    assert "".join(pieces) == " ".join(plain)
    stop = plain[4]
    before = " ".join(plain[: plain.index(stop)])
    assert "".join(edgernn.generate(words, prompt, 9, stop=stop)) == before


def test_padding_is_no_text(tmp_path: Path) -> None:
    """A padding symbol that the model chooses is fed back, and adds nothing to the text."""
    model = write(tmp_path, Vocabulary(LETTERS.symbols, padding=3))
    text = by_hand("abc", 30)
    assert "d" in text
    assert "".join(edgernn.generate(model, "abc", 30)) == text.replace("d", "")


def test_from_a_state(letters: Model) -> None:
    """A state of one sequence is where every prompt starts from."""
    stream = letters.stream()
    stream.feed(np.array([[0], [1]]))
    state = stream.snapshot()
    started = texts(letters, ["c", "da"], 9, state=state)
    assert started == [by_hand("abc", 9), by_hand("abda", 9)]


def test_text_comes_symbol_by_symbol(letters: Model) -> None:
    """A piece is there before the next symbol is chosen."""
    pieces = edgernn.generate(letters, "abc", 10**9)
    assert [next(pieces) for _ in range(4)] == list(by_hand("abc", 4))


def test_a_closing_line_end(letters: Model) -> None:
    """A line end that closes a prompt is dropped where it is no symbol."""
    assert texts(letters, ["abc\r\n", "d\n"], 4) == [by_hand("abc", 4), by_hand("d", 4)]


REFUSED = [
    (("abx", 3), {}, "`x` at position 2 of the text is not in the vocabulary of 4 symbols, which "
     "has no unknown symbol. Known are: 'a' 'b' 'c' 'd'"),
    ((["ab", "xa"], 3), {}, "Prompt 2: `x` at position 0 of the text is not in the vocabulary of 4 "
     "symbols, which has no unknown symbol. Known are: 'a' 'b' 'c' 'd'"),
    ((["ab", ""], 3), {}, "Prompt 2: The text is empty; at least one symbol is needed."),
    (([], 3), {}, "There is no prompt. Give at least one text to continue."),
    (("ab", 0), {}, "`count` is 0; it must be at least 1."),
    (("ab", 3), {"temperature": 1, "seed": -1}, "`seed` is -1; it must be at least 0."),
]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "message"), REFUSED)
def test_refused(letters: Model, given: Any, options: Any, message: str) -> None:
    """What is wrong is named before anything runs."""
    with pytest.raises(InputError) as caught:
        edgernn.generate(letters, *given, **options)
    assert str(caught.value) == message


def test_a_state_of_another_model(letters: Model) -> None:
    """A state is checked when the first prompt runs."""
    with pytest.raises(StateError) as caught:
        texts(letters, ["a", "b"], 3, state={"g": np.zeros((1, 1, 4))})
    assert str(caught.value) == "`g` is not a state of this model; its states are `h`, `c`."


def test_a_state_that_cannot_be_carried(tmp_path: Path) -> None:
    """A model without a stream continues no text."""
    model = write(tmp_path, kinds=("sequence",), carry=False)
    with pytest.raises(UnsupportedModelError) as caught:
        next(edgernn.generate(model, "ab", 3))
    with pytest.raises(UnsupportedModelError) as streamed:
        model.stream()
    assert str(caught.value) == str(streamed.value)
