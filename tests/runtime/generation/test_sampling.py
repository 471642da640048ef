"""The choice of symbols, compared with probabilities computed number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgernn.errors import InputError
from edgernn.runtime.generation.sampling import Sampling

SCORES = st.lists(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-30, 30), st.just(-math.inf)),
    min_size=1,
    max_size=8,
).filter(lambda scores: max(scores) > -math.inf)


def probabilities(
    scores: list[float], temperature: float, top_k: int | None, top_p: float
) -> dict[int, float]:
    """Return id → probability by the definition, in Python's own numbers."""
    ranked = sorted(range(len(scores)), key=lambda id_: (-scores[id_], id_))[:top_k]
    best = scores[ranked[0]]
    weights = {id_: math.exp((scores[id_] - best) / temperature) for id_ in ranked}
    total, mass = math.fsum(weights.values()), 0.0
    kept: dict[int, float] = {}
    for id_ in ranked:
        if kept and mass >= top_p * total:
            break
        kept[id_] = weights[id_]
        mass = math.fsum(kept.values())
    return {id_: weight / mass for id_, weight in kept.items() if weight / mass > 1e-12}


def drawn_shares(sampling: Sampling, scores: list[float], draws: int) -> dict[int, float]:
    """Return id → its share of the draws by evenly spaced numbers."""
    uniform = [(place + 0.5) / draws for place in range(draws)]
    row = np.array(scores, np.float32)
    chosen = sampling.choose_each(np.stack([row] * draws), uniform)
    assert chosen == [sampling.choose(row, one) for one in uniform]
    return {id_: chosen.count(id_) / draws for id_ in sorted(set(chosen))}


@given(
    scores=SCORES,
    temperature=st.floats(0.2, 5),
    top_k=st.one_of(st.none(), st.integers(1, 10)),
    top_p=st.sampled_from([1.0, 0.95, 0.6, 0.3, 1e-9]),
)
@settings(max_examples=150, deadline=None)
def test_draws_have_their_probabilities(
    scores: list[float], temperature: float, top_k: int | None, top_p: float
) -> None:
    """Numbers that are spread evenly give every symbol its share."""
    scores = np.array(scores, np.float32).tolist()
    expected = probabilities(scores, temperature, top_k, top_p)
    near = probabilities(scores, temperature, top_k, top_p * (1 + 1e-12))
    far = probabilities(scores, temperature, top_k, top_p * (1 - 1e-12))
    found = drawn_shares(Sampling(temperature, top_k, top_p), scores, 400)
    if near.keys() == far.keys():  # not at the edge, where rounding decides
        for id_ in expected.keys() | found.keys():
            assert abs(found.get(id_, 0) - expected.get(id_, 0)) <= 2 / 400


def test_the_best_symbol() -> None:
    """Temperature 0 and one candidate are the best symbol; of equal ones, the first."""
    scores = np.array([[1, 3, 3, 2], [0, -1, -1, 0]], np.float32)
    for sampling in (Sampling(), Sampling(2.0, top_k=1), Sampling(0.0, top_k=3, top_p=0.5)):
        assert not sampling.is_random
        assert sampling.choose_each(scores) == [1, 0]
        assert [sampling.choose(row) for row in scores] == [1, 0]


def test_ties() -> None:
    """Of symbols with equal scores, exactly `top_k` are kept, those with the lower ids."""
    shares = drawn_shares(Sampling(1.0, top_k=3), [1, 2, 1, 1, 2, 1], 1000)
    assert set(shares) == {0, 1, 4}
    assert set(drawn_shares(Sampling(1.0, top_p=0.5), [7, 7, 7, 7], 1000)) == {0, 1}


def test_more_candidates_than_symbols() -> None:
    """A `top_k` above the number of symbols is all of them."""
    scores = [0.5, 1.5, -0.5]
    everything = drawn_shares(Sampling(1.0), scores, 1000)
    assert drawn_shares(Sampling(1.0, top_k=99), scores, 1000) == everything
    assert set(everything) == {0, 1, 2}


def test_a_symbol_without_probability_is_never_drawn() -> None:
    """Neither the lowest nor the highest random number draws a symbol of score -infinity."""
    scores = np.array([[-np.inf, 0, -np.inf, 0, -np.inf]] * 2, np.float32)
    ends = [0.0, np.nextafter(1.0, 0.0)]
    assert Sampling(1.0).choose_each(scores, ends) == [1, 3]
    assert Sampling(1.0, top_k=4, top_p=0.99).choose_each(scores, ends) == [1, 3]


def test_extreme_scores() -> None:
    """The largest numbers and the lowest temperature neither overflow nor warn."""
    scores = np.array([3e38, -3e38, 2.9e38], np.float32)
    for temperature in (1e-310, 1.0, 1e300):
        assert Sampling(temperature).choose(scores, 0.0) == 0
    assert Sampling(1e300).choose(scores, 0.9) == 2
    assert Sampling(0.5).choose(np.array([6e4, -6e4], np.float16), 0.9) == 0


@pytest.mark.parametrize("wrong", [[np.nan, 1, 2], [1, np.inf, 2], [-np.inf] * 3])
def test_scores_that_are_not_numbers(wrong: list[float]) -> None:
    """A row without a best score is refused, alone and in a batch."""
    rows = np.array([[1, 2, 3], wrong], np.float32)
    for sampling in (Sampling(), Sampling(1.0), Sampling(1.0, top_k=2, top_p=0.5)):
        for choose in (
            lambda sampling: sampling.choose(rows[1], 0.5),
            lambda sampling: sampling.choose_each(rows, [0.5, 0.5]),
        ):
            with pytest.raises(InputError) as caught:
                choose(sampling)
            assert str(caught.value) == (
                "The best of the scores is NaN or infinite, so that no symbol can be chosen. "
                "Generate fewer symbols, or look for the first such values in the outputs."
            )


def test_defaults() -> None:
    """`top_k` and `top_p` alone draw at temperature 1; without any, the best is chosen."""
    assert Sampling.of(None, None, None) == Sampling(0.0)
    assert Sampling.of(None, 3, None) == Sampling(1.0, 3)
    assert Sampling.of(None, None, 0.5) == Sampling(1.0, None, 0.5)
    assert Sampling.of(0, 3, 0.5) == Sampling(0, 3, 0.5)


REFUSED = [
    (
        {"temperature": -1.0},
        "`temperature` is -1.0; it must be a finite number of at least 0. Give 1 for the model's "
        "own probabilities, or 0 for the best symbol.",
    ),
    (
        {"temperature": math.nan},
        "`temperature` is nan; it must be a finite number of at least 0. Give 1 for the model's "
        "own probabilities, or 0 for the best symbol.",
    ),
    (
        {"top_k": 0},
        "`top_k` is 0; it must be at least 1. Leave it out for all symbols.",
    ),
    (
        {"top_p": 0.0},
        "`top_p` is 0.0; it must be above 0 and at most 1, which is all symbols.",
    ),
    (
        {"top_p": math.nan},
        "`top_p` is nan; it must be above 0 and at most 1, which is all symbols.",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_refused(options: dict[str, float], message: str) -> None:
    """Values that have no meaning are refused."""
    with pytest.raises(InputError) as caught:
        Sampling(**options)  # type: ignore[arg-type]
    assert str(caught.value) == message
