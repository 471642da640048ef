"""What only the Java wrapper promises: tensors, closing, threads, garbage, the native library."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgernn.runtime.providers import find_library
from tests.conftest import Once
from tests.hosts.host_artifacts import write_artifact
from tests.hosts.host_drivers import HOSTS

RULES = """\
no library: PROVIDER The native library `{folder}/libedgernn.so` cannot be used: Can't load \
library: {folder}/libedgernn.so. Build it from edgernn.c and edgernn_jni.c, and give its path with \
-Dedgernn.library=PATH.
no binding: PROVIDER The binding `other` cannot be used, expected `jni`, or `foreign` with Java 22 \
or later and ForeignBinding.class. Leave out -Dedgernn.binding=other.
binding: {binding}
count: INPUT A tensor float32 (2, 3) has 24 bytes, but 20 came. Give as many elements as the shape \
has.
negative: INPUT No tensor has the shape (-1,). Give each axis its number of elements.
huge: MEMORY An array of 4398046511104 bytes is longer than Java's buffers, which have at most \
2147483639. Run shorter chunks.
too many: INPUT No tensor has the shape (1099511627776, 1099511627776). Give each axis its number \
of elements.
dtype: INPUT Tensor `ids` is int64, which floats() does not read. Take the method of its dtype, or \
data().
heap: INPUT A tensor needs a direct buffer in the machine's byte order that can be written. Make \
it with ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder()).
size: INPUT A tensor float32 (3,) has 12 bytes, but 16 came. Give as many elements as the shape has.
alignment: INPUT The buffer starts at position 1, where no float32 can be. Start at a multiple of \
4 bytes.
wrapped: 0.5
name: INPUT `a\\0b` has a NUL, but a name has none. Leave it out.
steps: 0
output: output float32 (1, 5)
filled again: true
copy: true
with a name: 1
after close: 5
batch: INPUT `batch` is -1; a stream runs at least 1 sequence. Give 1 or more.
closed stream: The stream is closed. Open another with model.stream(batch).
closed model: The model is closed. Open it again with Model.open(path).
stream of a closed model: 1
closed by another thread: no crash
threads agree: true
same numbers under garbage collection: true
freed: 7
a step makes no object: true
half a character: INPUT The text has half of a surrogate pair, but a text is complete characters. \
Cut it between characters.
ids: [10, 9]
text: true
symbol: a false
"""
"""What JavaRules.java prints."""


def artifact_of(name: str, once: Once) -> Path:
    folder = once(f"host-artifact-{name}", lambda folder: write_artifact(name, folder))
    return folder / "model.edgernn"


@pytest.mark.parametrize(
    ("host", "binding"), [("java", "JniBinding"), ("java-foreign", "ForeignBinding")]
)
def test_rules_of_the_java_wrapper(host: str, binding: str, once: Once, tmp_path: Path) -> None:
    """Each binding keeps every rule, in one process."""
    artifacts = [artifact_of(name, once) for name in ("two_layer_gru", "characters")]
    *java, _driver = HOSTS[host].command(once)
    ran = subprocess.run(
        [*java, "edgernn.JavaRules", *artifacts, tmp_path],
        env={"ONNXRUNTIME_LIBRARY": str(find_library())},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == RULES.format(folder=tmp_path, binding=binding)
