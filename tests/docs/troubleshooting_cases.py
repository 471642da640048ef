"""For each message of docs/troubleshooting.md: what provokes it, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgernn import Artifact, load, verify_artifact
from tests.docs import troubled_models as models
from tests.docs.provocations import (
    Call,
    X,
    changed,
    command,
    export,
    in_folder,
    model,
    plain_onnx,
    retrained,
    run_csv,
    state,
    with_file,
    without_onnxruntime,
    without_torch,
)

__all__ = ["CASES", "Case"]

STEP = ["x:float32[batch,3]", "memory:float32[batch,4]"]
SUM = ["x:float32[batch,3]", "total:float32[batch,3]"]
H = np.zeros((1, 1, 4), np.float32)
UNKNOWN = {"symbols": ["?", *"abcdefghij"], "unknown": "?"}


@dataclass(frozen=True)
class Case:
    """One message.

    Attributes:
        shown: The message as the page shows it.
        provoke: Is refused with it.
        remedy: Does what the page advises; None where that is to take other data.
    """

    shown: str
    provoke: Call
    remedy: Call | None = None


CASES = [
    # installing
    Case("Exporting needs `…`", without_torch),
    Case("Running a model needs ONNX Runtime", without_onnxruntime, model),
    # the model file
    Case("`…` does not exist. Give the file of a trained model.", export("nowhere.pt")),
    Case(
        "`…` is not a model file",
        with_file("page.pt", b"<html>not found</html>", export("page.pt")),
    ),
    Case(
        "`…` is a pickle that asks for code",
        export("module.pt"),
        export("module.pt", trust=True),
    ),
    Case(
        "`…` is a state_dict that does not determine the model",
        export("tagger.pt"),
        export("tagger.pt", module=models.Tagger),
    ),
    Case(
        "`…` in `…` does not exist.",
        export("net.pt", module="net.py:Model"),
        export("net.pt", module="net.py:net"),
    ),
    Case(
        "`…` in `…` needs `…`; a factory takes no required argument",
        export("net.pt", module="net.py:Net"),
        export("net.pt", module="net.py:net"),
    ),
    Case(
        "`…` would train or save a model when it is imported",
        export("net.pt", module="train.py:net"),
        export("net.pt", module="net.py:net"),
    ),
    Case(
        "`…` does not fit `…`",
        export("tagger.pt", module=lambda: models.Tagger(5)),
        export("tagger.pt", module=models.Tagger),
    ),
    # inputs and states
    Case(
        "No example input for `…` could be inferred",
        export(models.TwoArguments()),
        export(
            models.TwoArguments(),
            inputs=["left:float32[batch,sequence,1]", "right:float32[batch,sequence,2]"],
        ),
    ),
    Case(
        "`…` is not an input spec",
        command("export", "gru.pt", "--input", "x:float[batch,sequence,3]"),
        command("export", "gru.pt", "--input", "x:float32[batch,sequence,3]"),
    ),
    Case(
        "`…` is not an argument of `…`",
        export(models.lstm(), inputs=["x:float32[batch,sequence,3]"]),
        export(models.lstm(), inputs=["input:float32[batch,sequence,3]"]),
    ),
    Case(
        "`…` fails on …",
        export(models.Tagger(), inputs=(torch.full((2, 3), 12),)),
        export(models.Tagger(), inputs=(torch.full((2, 3), 10),)),
    ),
    Case("The model has no recurrent layer", export(nn.Linear(3, 5))),
    Case(
        "forward makes no recurrent call",
        export(models.Sum(), inputs=SUM),
        export(models.Sum(), inputs=SUM, states={"total": 1}),
    ),
    Case(
        "forward is one step of a recurrence, but nothing that it returns goes back in",
        export(models.Keeping(returns=False), inputs=["x:float32[batch,3]", "h:float32[batch,4]"]),
        export(models.Keeping(), inputs=["x:float32[batch,3]", "h:float32[batch,4]"]),
    ),
    Case(
        "`…` is not an input of the model",
        export(models.Step(), inputs=STEP, states={"h": 1}),
        export(models.Step(), inputs=STEP, states={"memory": 1}),
    ),
    Case(
        "`…` is not in what forward returns",
        export(models.Step(), inputs=STEP, states={"memory": 2}),
        export(models.Step(), inputs=STEP, states={"memory": 1}),
    ),
    Case(
        "State `…` goes in as … and comes out as …",
        export(models.Step(), inputs=STEP, states={"memory": 0}),
        export(models.Step(), inputs=STEP, states={"memory": 1}),
    ),
    # the code of forward
    Case(
        "`…` keeps `self.…` from call to call, and no state can replace it",
        export(models.AllPast()),
        export(models.LastStep()),
    ),
    Case("`…` draws random numbers", export(models.Noise()), export(nn.GRU(3, 4))),
    Case(
        "`…` cannot be traced: forward branches on the values of a tensor",
        export(models.Branch()),
        export(models.Chosen()),
    ),
    Case(
        "`…` cannot be traced: forward leaves torch for NumPy",
        export(models.Sine()),
        export(models.SineOfTorch()),
    ),
    Case(
        "`…` loops over `…` at …, and a graph runs the same in every iteration",
        export(models.AllEarlier()),
        export(models.LastTwo()),
    ),
    Case(
        "The … graph does not agree with …",
        export(models.Sum(), inputs=SUM, states={"total": 1}, precision="float16"),
        export(models.Sum(), inputs=SUM, states={"total": 1}),
    ),
    # options
    Case(
        "`…` exists already in",
        export(models.lstm(), path="lstm.edgernn", force=False),
        export(models.lstm(), path="lstm.edgernn"),
    ),
    Case(
        "`…` in `…` exists and is not an artifact",
        export(models.lstm(), path="empty"),
        export(models.lstm(), path="new.edgernn"),
    ),
    Case(
        "There is no step graph",
        export(models.lstm(bidirectional=True), graph="step"),
        export(models.lstm(bidirectional=True)),
    ),
    Case(
        "`…` (node `…`) needs opset …",
        export(models.Normed(), opset=15),
        export(models.Normed()),
    ),
    Case(
        "The vocabulary has … symbols, but `…` takes … ids.",
        export(models.Tagger(), vocabulary=list("abc")),
        export(models.Tagger(), vocabulary=list("abcdefghijk")),
    ),
    Case(
        "Symbol … of the vocabulary is empty.",
        with_file("v.txt", b"a\n\nb\n", export(models.Tagger(), vocabulary="v.txt")),
        with_file(
            "v.txt",
            b"a\n\\n\n \nd\ne\nf\ng\nh\ni\nj\nk\n",
            export(models.Tagger(), vocabulary="v.txt"),
        ),
    ),
    # loading
    Case(
        "`…` is a file of PyTorch's, not an artifact or an ONNX graph.",
        lambda: load("gru.pt"),
        command("export", "gru.pt"),
    ),
    Case("`…` is not an artifact", lambda: load("empty"), model),
    Case("`…` carries no edgernn contract.", plain_onnx, export("plain.onnx")),
    Case("`…` was changed after the export", changed, lambda: model()(X)),
    Case("`…` is not a provider", lambda: load("lstm.edgernn", provider="gpu")),
    Case("`…` does not run here", lambda: load("lstm.edgernn", provider="directml")),
    # arrays and states
    Case("`…` came with shape …", lambda: model().stream().step(X), lambda: model()(X)),
    Case(
        "`…` came as …, but takes …",
        lambda: model("tagger")(X[:, :, 0]),
        lambda: model("tagger")(X[:, :, 0].astype("int64")),
    ),
    Case("`…` has id …; the model knows ids …", lambda: model("tagger")([[11]])),
    Case(
        "`…` is not an input of the sequence graph",
        lambda: model()(X, h_in=H, c_in=H),
        state(h=H, c=H),
    ),
    Case("State `…` is missing", state(h=H), state(h=H, c=H)),
    Case("State `…` must have shape …", state(h=H[0], c=H), state(h=H, c=H)),
    Case("State `…` has … values that are NaN or infinite", state(h=H * np.nan, c=H)),
    Case(
        "`…` cannot run as a stream",
        lambda: model("both").stream(),
        lambda: model("both")(X),
    ),
    # files and text
    Case(
        "There is no artifact in the current folder.",
        in_folder("empty", command("run")),
        in_folder("empty", command("run", "../lstm.edgernn")),
    ),
    Case(
        "Line … of `…` has … columns; `…` takes … per step.",
        run_csv("1,2\n3,4\n"),
        run_csv("1,2,3\n4,5,6\n"),
    ),
    Case(
        "Line … of `…` has `nan` in column …, and a recurrence never recovers from that.",
        run_csv("1,2,3\n4,nan,6\n"),
        run_csv("1,2,3\n4,2,6\n"),
    ),
    Case(
        "`…` has no vocabulary, so it cannot read text.",
        command("run", "tagger.edgernn", "--text", "a"),
        command("run", "text.edgernn", "--text", "a"),
    ),
    Case(
        "`…` at position … of the text is not in the vocabulary",
        command("run", "text.edgernn", "--text", "az"),
        export(models.Tagger(), vocabulary=UNKNOWN),
    ),
    Case(
        "`…` exists already. Give another name with --output",
        command("run", "lstm.edgernn", "--input", "x.npy", "--output", "x.npy"),
        command("run", "lstm.edgernn", "--input", "x.npy", "--output", "x.npy", "--force"),
    ),
    # verifying
    Case(
        "The sequence graph has the ports …; the model would give …",
        command("verify", "lstm.edgernn", "--against", "gru.pt"),
    ),
    Case(
        "The sequence graph does not agree with eager torch",
        lambda: verify_artifact(Artifact.open("lstm.edgernn"), retrained()),
        lambda: verify_artifact(export(layer := models.lstm())(), layer),  # type: ignore[arg-type]
    ),
]
