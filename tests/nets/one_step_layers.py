"""One-step models that are plain layers over time: cells, stacked, and what is around them."""

from __future__ import annotations

from tests.nets.one_step import H_STATES, LSTM_STATES, OneStepModel


def _cell(kind: str, gates: int, attributes: str = "") -> OneStepModel:
    """A cell as it is written from torch: states (batch, hidden_size), one operator."""
    letters = "hc" if kind == "LSTM" else "h"
    before = "".join(f", float[batch, 4] {letter}_in" for letter in letters)
    after = "".join(f", float[batch, 4] {letter}_out" for letter in letters)
    lines = ["s = Unsqueeze(x, zero)"]
    lines += [f"{letter} = Unsqueeze({letter}_in, zero)" for letter in letters]
    finals = ", ".join(f"{letter}_end" for letter in letters)
    initial = ", ".join(letters)
    lines += [f"y, {finals} = {kind}<hidden_size=4{attributes}>(s, W, R, B, , {initial})"]
    lines += [f"{letter}_out = Squeeze({letter}_end, zero)" for letter in letters]
    lines += ["output = Identity(h_out)"]
    return OneStepModel(
        f"g (float[batch, 3] x{before}) => (float[batch, 4] output{after}) {{ {' '.join(lines)} }}",
        {"W": (1, 4 * gates, 3), "R": (1, 4 * gates, 4), "B": (1, 8 * gates)},
        LSTM_STATES if kind == "LSTM" else H_STATES,
        {"zero": [0]},
    )


OPERATOR_MODELS = {
    "lstm_cell": _cell("LSTM", 4),
    "gru_cell": _cell("GRU", 3, ", linear_before_reset=1"),
    "rnn_cell": _cell("RNN", 1),
    "relu_cell": _cell("RNN", 1, ', activations=["Relu"]'),
    "stacked_cells_with_embedding_and_head": OneStepModel(
        """g (int64[batch] tokens, float[batch, 4] a_in, float[batch, 4] b_in)
            => (float[batch, 5] output, float[batch, 4] a_out, float[batch, 4] b_out) {
            e = Gather(E, tokens)
            s = Unsqueeze(e, zero)
            a = Unsqueeze(a_in, zero)
            ya, a_end = GRU<hidden_size=4, linear_before_reset=1>(s, Wa, Ra, Ba, , a)
            a_out = Squeeze(a_end, zero)
            s2 = Unsqueeze(a_out, zero)
            b = Unsqueeze(b_in, zero)
            yb, b_end = RNN<hidden_size=4>(s2, Wb, Rb, Bb, , b)
            b_out = Squeeze(b_end, zero)
            scores = Gemm<transB=1>(b_out, L, l)
            output = LogSoftmax(scores) }""",
        {
            "E": (5, 3),
            "Wa": (1, 12, 3),
            "Ra": (1, 12, 4),
            "Ba": (1, 24),
            "Wb": (1, 4, 4),
            "Rb": (1, 4, 4),
            "Bb": (1, 8),
            "L": (5, 4),
            "l": (5,),
        },
        [("a_in", "a_out"), ("b_in", "b_out")],
        {"zero": [0]},
    ),
    "two_layers_in_one_state": OneStepModel(
        """g (float[1, batch, 3] x, float[2, batch, 4] h_in)
            => (float[1, batch, 4] output, float[2, batch, 4] h_out) {
            h0, h1 = Split<axis=0>(h_in, ones)
            y0, n0 = RNN<hidden_size=4>(x, W0, R0, B0, , h0)
            s = Squeeze(y0, one)
            y1, n1 = RNN<hidden_size=4>(s, W1, R1, B1, , h1)
            output = Squeeze(y1, one)
            h_out = Concat<axis=0>(n0, n1) }""",
        {
            "W0": (1, 4, 3),
            "R0": (1, 4, 4),
            "B0": (1, 8),
            "W1": (1, 4, 4),
            "R1": (1, 4, 4),
            "B1": (1, 8),
        },
        H_STATES,
        {"one": [1], "ones": [1, 1]},
    ),
    "h_and_c_in_one_state_behind_a_convolution": OneStepModel(
        """g (float[batch, 1, 6] x, float[2, batch, 4] hc_in)
            => (float[batch, 1] output, float[2, batch, 4] hc_out) {
            k = Conv(x, K)
            r = Relu(k)
            f = ReduceMean<keepdims=0>(r, last)
            s = Unsqueeze(f, zero)
            h, c = Split<axis=0>(hc_in, ones)
            y, hn, cn = LSTM<hidden_size=4>(s, W, R, B, , h, c)
            hc_out = Concat<axis=0>(hn, cn)
            o = Squeeze(hn, zero)
            p = MatMul(o, L)
            output = Sigmoid(p) }""",
        {"K": (3, 1, 2), "W": (1, 16, 3), "R": (1, 16, 4), "B": (1, 32), "L": (4, 1)},
        [("hc_in", "hc_out")],
        {"zero": [0], "last": [2], "ones": [1, 1]},
    ),
    "one_row": OneStepModel(
        """g (float[1, 3] x, float[1, 1, 4] h_in)
            => (float[1, 5] output, float[1, 1, 4] h_out) {
            s = Reshape(x, row)
            y, h_out = RNN<hidden_size=4>(s, W, R, B, , h_in)
            f = Reshape(h_out, flat)
            scores = Gemm<transB=1>(f, L, l)
            output = LogSoftmax(scores) }""",
        {"W": (1, 4, 3), "R": (1, 4, 4), "B": (1, 8), "L": (5, 4), "l": (5,)},
        H_STATES,
        {"row": [1, 1, 3], "flat": [1, 4]},
    ),
}
