"""Python loops over time, each rerolled into one call.

torch's exporter unrolls a loop over time, for one number of steps:

    def forward(self, x):                        with 3 steps, and with 4 steps:
        h = torch.zeros(len(x), 4)               h = zeros()
        for t in range(x.shape[1]):              h = tanh(select(x, 1, 0) + h)
            h = torch.tanh(x[:, t] + h)          h = tanh(select(x, 1, 1) + h)
        return h                                 h = tanh(select(x, 1, 2) + h)
                                                 h = tanh(select(x, 1, 3) + h)      with 4 only

The operators that there are one more time with one more step are an iteration. Here these are
`select`, whose index grows by 1, and `tanh`, which takes what the iteration before gave. So forward
does the same at any number of steps as this module, whose `loop0` runs its body once per step:

    h = zeros()                                  loop0.body(x0, h0):
    h = loop0(x, h)                                  return tanh(x0 + h0)

`reroll.reroll` runs the stages:

1. `unroll`: export forward at a few sizes, normalized so that all iterations look the same.
2. `size_variants`, `detect_loops`: find the loops, and put the graphs of all sizes side by side.
3. `build_graph`, `loop_body`: write one call for each loop; numbers follow the sizes of the axes.
4. `check_rerolled`: run the new module beside the user's at other sizes.

Where a stage fails, `explain_loop` explains which line of the model is the reason.
"""
