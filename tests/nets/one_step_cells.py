"""One-step models that are no layer: cells of one's own, states that do more than go round."""

from __future__ import annotations

from tests.nets.one_step import H_STATES, LSTM_STATES, OneStepModel

SCAN_MODELS = {
    "tanh_of_x_and_h": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[batch, 5] output, float[batch, 4] h_out) {
            both = Concat<axis=1>(x, h_in)
            sum = Gemm<transB=1>(both, W, b)
            h_out = Tanh(sum)
            scores = Gemm<transB=1>(both, L, l)
            output = LogSoftmax(scores) }""",
        {"W": (4, 7), "b": (4,), "L": (5, 7), "l": (5,)},
        H_STATES,
    ),
    "peephole_lstm": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in, float[batch, 4] c_in)
            => (float[batch, 4] output, float[batch, 4] h_out, float[batch, 4] c_out) {
            xs = Gemm(x, W, b)
            hs = MatMul(h_in, R)
            sums = Add(xs, hs)
            xi, xf, xo, xg = Split<axis=1>(sums, fours)
            pi = Mul(c_in, Pi)  pf = Mul(c_in, Pf)
            si = Add(xi, pi)  sf = Add(xf, pf)
            i = Sigmoid(si)  f = Sigmoid(sf)  g = Tanh(xg)
            keep = Mul(f, c_in)  new = Mul(i, g)
            c_out = Add(keep, new)
            po = Mul(c_out, Po)
            so = Add(xo, po)
            o = Sigmoid(so)
            t = Tanh(c_out)
            h_out = Mul(o, t)
            output = Relu(h_out) }""",
        {"W": (3, 16), "R": (4, 16), "b": (16,), "Pi": (4,), "Pf": (4,), "Po": (4,)},
        LSTM_STATES,
        {"fours": [4, 4, 4, 4]},
    ),
    "minimal_gated_unit": OneStepModel(
        """g (float[batch, 3] x, float[1, batch, 4] h_in)
            => (float[batch, 4] output, float[1, batch, 4] h_out) {
            h = Squeeze(h_in, zero)
            both = Concat<axis=1>(x, h)
            sf = Gemm(both, F, bf)
            f = Sigmoid(sf)
            fh = Mul(f, h)
            other = Concat<axis=-1>(x, fh)
            sn = Gemm(other, N, bn)
            n = Tanh(sn)
            d = Sub(n, h)
            fd = Mul(f, d)
            output = Add(h, fd)
            h_out = Unsqueeze(output, zero) }""",
        {"F": (7, 4), "N": (7, 4), "bf": (4,), "bn": (4,)},
        H_STATES,
        {"zero": [0]},
    ),
    "layer_normalised_cell": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[batch, 4] output, float[batch, 4] h_out) {
            xs = Gemm(x, W, b)
            xn = LayerNormalization(xs, scale)
            hs = MatMul(h_in, R)
            hn = LayerNormalization(hs, scale)
            sum = Add(xn, hn)
            h_out = Tanh(sum)
            output = Softmax(h_out) }""",
        {"W": (3, 4), "R": (4, 4), "b": (4,), "scale": (4,)},
        H_STATES,
    ),
    "cell_state_as_feature": OneStepModel(
        """g (float[batch, 3] x, float[1, batch, 4] h_in, float[1, batch, 4] c_in)
            => (float[batch, 4] output, float[1, batch, 4] h_out, float[1, batch, 4] c_out) {
            s = Unsqueeze(x, zero)
            y, h_out, c_out = LSTM<hidden_size=4>(s, W, R, B, , h_in, c_in)
            output = Squeeze(c_out, zero) }""",
        {"W": (1, 16, 3), "R": (1, 16, 4), "B": (1, 32)},
        LSTM_STATES,
        {"zero": [0]},
    ),
    "output_that_mixes_the_batch": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[1, 4] output, float[batch, 4] h_out) {
            xs = MatMul(x, W)
            hs = MatMul(h_in, R)
            sum = Add(xs, hs)
            h_out = Tanh(sum)
            output = ReduceMean(h_out, zero) }""",
        {"W": (3, 4), "R": (4, 4)},
        H_STATES,
        {"zero": [0]},
    ),
    "input_that_mixes_the_batch": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[batch, 4] output, float[batch, 4] h_out) {
            m = ReduceMean(x, zero)
            d = Sub(x, m)
            xs = MatMul(d, W)
            hs = MatMul(h_in, R)
            sum = Add(xs, hs)
            h_out = Tanh(sum)
            output = Neg(h_in) }""",
        {"W": (3, 4), "R": (4, 4)},
        H_STATES,
        {"zero": [0]},
    ),
    "no_batch_axis": OneStepModel(
        """g (float[3] x, float[4] h_in) => (float[4] output, float[4] h_out) {
            xs = MatMul(x, W)
            hs = MatMul(h_in, R)
            sum = Add(xs, hs)
            h_out = Tanh(sum)
            output = Exp(h_out) }""",
        {"W": (3, 4), "R": (4, 4)},
        H_STATES,
    ),
    "two_states_that_swap": OneStepModel(
        """g (float[batch, 4] x, float[batch, 4] h_in, float[batch, 4] k_in)
            => (float[batch, 4] output, float[batch, 4] h_out, float[batch, 4] k_out) {
            h_out = Add(x, k_in)
            k_out = Identity(h_in)
            output = Mul(h_in, k_in) }""",
        {},
        [("h_in", "h_out"), ("k_in", "k_out")],
    ),
    "rnn_whose_state_is_scaled": OneStepModel(
        """g (float[batch, 3] x, float[1, batch, 4] h_in)
            => (float[batch, 4] output, float[1, batch, 4] h_out) {
            s = Unsqueeze(x, zero)
            y, n = RNN<hidden_size=4>(s, W, R, B, , h_in)
            h_out = Mul(n, k)
            output = Squeeze(n, zero) }""",
        {"W": (1, 4, 3), "R": (1, 4, 4), "B": (1, 8), "k": (1,)},
        H_STATES,
        {"zero": [0]},
    ),
    "layers_that_swap_their_states": OneStepModel(
        """g (float[1, batch, 4] x, float[2, batch, 4] h_in)
            => (float[1, batch, 4] output, float[2, batch, 4] h_out) {
            h0, h1 = Split<axis=0>(h_in, ones)
            y0, n0 = RNN<hidden_size=4>(x, W, R, B, , h0)
            y1, n1 = RNN<hidden_size=4>(n0, W, R, B, , h1)
            output = Squeeze(y1, one)
            h_out = Concat<axis=0>(n1, n0) }""",
        {"W": (1, 4, 4), "R": (1, 4, 4), "B": (1, 8)},
        H_STATES,
        {"one": [1], "ones": [1, 1]},
    ),
}
