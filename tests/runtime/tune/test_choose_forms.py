"""The choice among trials, and the sizes for which it holds."""

from __future__ import annotations

from dataclasses import replace

from edgernn.forms import Form
from edgernn.runtime.tune.choose_forms import chosen_of, forms_of
from edgernn.tuned import Trial


def trial(file: str, ratio: float, batch: int = 1, steps: int = 1, **more: object) -> Trial:
    """Return a trial of a file, of the sequence graph where it has several steps."""
    graph = "step" if steps == 1 else "sequence"
    return Trial(graph, file, None, batch, steps, ratio * 1e-5, ratio, 0.0, **more)  # type: ignore[arg-type]


def test_the_fastest_way_is_chosen() -> None:
    """One trial of a size is marked."""
    trials = [trial("step.onnx", 1), trial("forms/a.onnx", 0.5), trial("forms/b.onnx", 0.7)]
    assert [one.file for one in chosen_of(trials) if one.chosen] == ["forms/a.onnx"]


def test_a_simpler_way_that_is_as_fast_but_for_noise_is_chosen() -> None:
    """A form has to win by 5 %, and so does a further thread."""
    portable, form = trial("step.onnx", 1), trial("forms/a.onnx", 0.9)
    assert [one.chosen for one in chosen_of([portable, trial("forms/a.onnx", 0.96)])] == [
        True,
        False,
    ]
    for ratio, chosen in ((0.87, [False, True, False]), (0.8, [False, False, True])):
        ways = [portable, form, replace(form, threads=2, ratio=ratio)]
        assert [one.chosen for one in chosen_of(ways)] == chosen


def test_fewer_threads_are_chosen_where_they_are_as_fast() -> None:
    """A sequence graph has all cores by itself."""
    whole = trial("sequence.onnx", 1, steps=100)
    one, two = replace(whole, threads=1, ratio=1.1), replace(whole, threads=2, ratio=1.02)
    assert [way.chosen for way in chosen_of([whole, one, two])] == [False, False, True]


def test_sizes_between_belong_to_the_nearer_one() -> None:
    """Borders are where both sizes are as far away, by ratio; equal choices are one form."""
    trials = [
        trial("forms/a.onnx", 0.5, 1, chosen=True),
        trial("step.onnx", 1.0, 1),
        trial("forms/a.onnx", 0.5, 4, chosen=True),
        trial("step.onnx", 1.0, 64, chosen=True),
    ]
    assert forms_of(trials, "cpu") == (
        Form("step", "forms/a.onnx", "cpu", {"batch": 1}, {"batch": 16}),
        Form("step", "step.onnx", "cpu", {"batch": 17}, {"batch": 64}),
    )


def test_any_number_of_steps_has_a_choice() -> None:
    """The smallest number is for fewer steps too, and the largest for more."""
    trials = [
        trial("forms/a.onnx", 0.5, 8, 10, chosen=True),
        trial("sequence.onnx", 1.0, 8, 1000, chosen=True),
    ]
    assert forms_of(trials, "cuda") == (
        Form("sequence", "forms/a.onnx", "cuda", {"batch": 8}, {"batch": 8, "sequence": 100}),
        Form("sequence", "sequence.onnx", "cuda", {"batch": 8, "sequence": 101}, {"batch": 8}),
    )
