"""The page of `edgernn embed --host web` in a real browser."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edgernn
from edgernn.artifact import Artifact
from edgernn.hosts import HOSTS
from edgernn.runtime import Model
from edgernn.runtime.embed import embed_artifact
from tests.conftest import Once
from tests.hosts.chromium import serve
from tests.hosts.web_artifacts import write_page_artifact
from tests.hosts.web_browser import MODULES, Browser, Keys
from tests.nets import framed, small_artifacts

PASSED = "document.getElementById('light').dataset.state === 'passed'"
ENDED = "document.getElementById('status').textContent.startsWith('The input has ended')"
PICTURES = Path(__file__).parents[2] / "build" / "web-page"
"""Where the pictures of the page are left for people to look at."""

COLORS = ["card", "page", "control", "heat-low", "heat-high", "accent"]
COLORS += [f"line-{line}" for line in range(1, 9)]

MODELS = ("characters", "two_layer_gru", "sound")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    if not (MODULES / "onnxruntime-web").exists() or not shutil.which("node"):
        pytest.skip("there is no Node or onnxruntime-web here; scripts/hosts installs them")
    PICTURES.mkdir(parents=True, exist_ok=True)
    browser = Browser()
    yield browser
    browser.driver.quit()


def embed(artifact: Path, folder: Path) -> Path:
    """Write the project of an artifact, as its first line leaves it."""
    embed_artifact(Artifact.open(artifact), HOSTS["web"], folder)
    (folder / "node_modules").symlink_to(MODULES)
    return folder


@pytest.fixture(scope="module")
def pages(once: Once) -> dict[str, Path]:
    """Name of a model → its project, built."""

    def fill(folder: Path, name: str) -> None:
        artifact = once(f"host-artifact-{name}", lambda at: write_page_artifact(name, at))
        project = embed(artifact / "model.edgernn", folder / "page")
        done = subprocess.run(
            ["node", project / "build.mjs"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")

    return {
        name: once(f"web-page-{name}", functools.partial(fill, name=name)) / "page"
        for name in MODELS
    }


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the folder of this test."""
    with serve(tmp_path) as address:
        yield address


def open_page(browser: Browser, project: Path, **look: Any) -> None:
    """Open the page from its file and wait until it has checked itself."""
    browser.look(**look)
    browser.open((project / "offline.html").as_uri())
    browser.wait(PASSED)


def python_model(project: Path) -> Model:
    """Return the model of a project in Python."""
    return edgernn.load(project / "model.edgernn", forms=False)


def shown(
    browser: Browser, selector: str = "#output .plot:last-of-type .key output"
) -> list[float]:
    """Return the numbers beside the lines of a plot, of three digits."""
    texts = browser.value(
        f"[...document.querySelectorAll('{selector}')].map(one => one.textContent)"
    )
    return [float(text.replace("\u2212", "-")) for text in texts]


def assert_shown(browser: Browser, expected: NDArray[Any]) -> None:
    """Compare the numbers beside the lines of the output with those of Python."""
    np.testing.assert_allclose(shown(browser), expected.ravel(), rtol=6e-3, atol=1e-5)


def set_speed(browser: Browser, key: str) -> None:
    browser.find("#speed").send_keys(key)


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    weights = np.exp(scores - scores.max())
    chances: NDArray[Any] = weights / weights.sum()
    return chances


@pytest.mark.parametrize("name", MODELS)
def test_page_from_a_file(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """A double click opens the page: it asks the network for nothing, and is green by itself."""
    open_page(browser, pages[name])
    contract = Artifact.open(pages[name] / "model.edgernn").contract
    requested = {url for url in browser.requests() if not url.startswith("file:")}
    assert (requested, browser.logs()) == (set(), [])
    assert browser.text("#light_title") == "Self-check passed"
    assert "largest difference" in browser.text("#light_text")
    ways = browser.value("[...document.querySelectorAll('#ways tr')].map(row => row.innerText)")
    assert [way.split("\t")[-1] for way in ways] == ["agrees"] * 3 + ["differs, as it must"]
    ports = browser.value(
        "[...document.querySelectorAll('#ports tr')].map(row => row.cells[0].textContent)"
    )
    graph = contract.graphs["step"]
    assert ports == [port.name for port in (*graph.inputs, *graph.outputs)]
    assert f"{contract.hop} step" in browser.text("#facts")
    assert f"nn.Module {browser.text('h1')}, torch" in contract.source


@pytest.mark.parametrize("name", MODELS)
def test_page_can_be_read_by_all(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """Contrast, names and order pass axe; nothing jumps while it opens; it fits every window."""
    open_page(browser, pages[name], width=390)
    shifts = browser.driver.execute_async_script(
        "const done = arguments[0];"
        "new PerformanceObserver(list => done(list.getEntries().map(one => one.value)))"
        ".observe({type: 'layout-shift', buffered: true});"
        "setTimeout(() => done([]), 300);"
    )
    assert sum(shifts) < 0.02
    for width, dark in itertools.product((390, 320, 1280), (True, False)):
        browser.look(width, dark)
        browser.picture(PICTURES / f"{name}-{width}-{'dark' if dark else 'light'}.png")
        assert browser.value("document.documentElement.scrollWidth") == width
        if dark == (width < 500):  # each color and each width
            assert browser.violations() == []


def test_colors_of_pictures(browser: Browser, pages: dict[str, Path]) -> None:
    """Lines, borders and the ends of the color scale stand out from the card by 3 to 1."""
    open_page(browser, pages["sound"])
    assert_contrast(browser, dark=False)
    browser.look(dark=True)
    assert_contrast(browser, dark=True)


def assert_contrast(browser: Browser, dark: bool) -> None:
    colors = {
        name: browser.value(
            f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()"
        )
        for name in COLORS
    }

    def luminance(color: str) -> float:
        parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    grounds = [luminance(colors.pop(name)) for name in ("card", "page")]
    assert (max(grounds) < 0.1) == dark
    for name, color in colors.items():
        for ground in grounds:
            low, high = sorted((luminance(color), ground))
            assert (high + 0.05) / (low + 0.05) >= 3, name


def test_text(browser: Browser, pages: dict[str, Path]) -> None:
    """A text is read as it is typed; the best next symbols are Python's, and so is what follows."""
    open_page(browser, pages["characters"])
    model = python_model(pages["characters"])
    vocabulary = model.contract.vocabulary
    assert vocabulary is not None
    browser.find("#text").send_keys("a bad é")
    browser.wait("document.getElementById('steps').textContent === '7'")
    ids = vocabulary.encode("a bad é")
    stream = model.stream()
    scores = stream.feed(np.array([ids]))
    assert isinstance(scores, np.ndarray)
    chances = softmax(scores[0, -1])
    best = np.argsort(-chances, kind="stable")[:6]
    browser.wait("document.querySelector('#best span').textContent.includes('%')")
    rows = browser.value(
        "[...document.querySelectorAll('#best li')].map(row => row.innerText.split('\\n'))"
    )
    assert [row[-1] for row in rows] == [f"{100 * chances[one]:.1f} %" for one in best]
    assert rows[0][0] == vocabulary.symbols[best[0]].replace(" ", "␣")

    browser.value("document.getElementById('temperature').focus()")
    browser.press(Keys.HOME)
    browser.find("#count").send_keys(Keys.CONTROL, "a", Keys.NULL, "12")
    browser.find("#generate").click()
    browser.wait("document.getElementById('steps').textContent === '19'")
    for _ in range(12):
        ids.append(int(scores[0, -1].argmax()) if scores.ndim == 3 else int(scores[0].argmax()))
        scores = stream.step(np.array([ids[-1]]))
        assert isinstance(scores, np.ndarray)
    assert browser.value("document.getElementById('text').value") == vocabulary.decode(ids)
    browser.picture(PICTURES / "characters-during.png")

    browser.find("#text").send_keys(Keys.HOME, "h")  # an earlier symbol: it reads from the start
    browser.wait("document.getElementById('steps').textContent === '20'")
    assert browser.logs() == []


def test_sliders_and_state(browser: Browser, pages: dict[str, Path]) -> None:
    """Sliders are the input of each step; the picture of the state moves, and a reset clears it."""
    open_page(browser, pages["two_layer_gru"])
    before = browser.picture(PICTURES / "gru-state-before.png", "#state_card")
    stream = python_model(pages["two_layer_gru"]).stream()
    sliders = browser.driver.find_elements("css selector", "#panel input")
    x = np.zeros((1, 3), np.float32)
    for place, slider in enumerate(sliders):
        slider.send_keys(Keys.END if place else Keys.HOME)
        x[0, place] = float(str(slider.get_property("value")))
    assert x.all()
    for steps in (1, 2, 3):
        browser.find("#step").click()
        browser.wait(f"document.getElementById('steps').textContent === '{steps}'")
        expected = stream.step(x)
        assert isinstance(expected, np.ndarray)
        assert_shown(browser, expected)
    during = browser.picture(PICTURES / "gru-state-during.png", "#state_card")
    browser.find("#reset").click()
    browser.wait("document.getElementById('steps').textContent === '0'")
    browser.wait("document.querySelector('#state output').textContent === '±0'")
    after = browser.picture(PICTURES / "gru-state-after.png", "#state_card")
    assert before != during
    assert before == after


def test_files_of_numbers(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """A .csv or .npy runs to its end, with Python's numbers; one that does not fit says why."""
    open_page(browser, pages["two_layer_gru"])
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    expected = python_model(pages["two_layer_gru"]).stream().feed(x[None])
    assert isinstance(expected, np.ndarray)
    set_speed(browser, Keys.END)
    browser.find("[value=file]").click()
    browser.find("#run").click()
    browser.wait("document.querySelector('#input .error').textContent")
    assert browser.text("#input .error") == "No file is open yet. Choose one, then run."
    for name in ("x.csv", "x.npy"):
        browser.find("#panel input").send_keys(str(tmp_path / name))
        browser.wait(f"document.querySelector('.drop b').textContent === '{name}'")
        browser.find("#reset").click()
        browser.find("#run").click()
        browser.wait(f"{ENDED} && document.getElementById('steps').textContent === '40'")
        assert_shown(browser, expected[0, -1])

    (tmp_path / "short.csv").write_text("1,2,3\n1,2\n")
    (tmp_path / "words.csv").write_text("1,2,3\n1,2,no\n")
    np.save(tmp_path / "wide.npy", np.zeros((5, 4), np.float32))
    for name, sentence in {
        "short.csv": "Line 2 of `short.csv` has 2 numbers; a step takes 3.",
        "words.csv": "Cell 3 in line 2 of `words.csv` is not a number.",
        "wide.npy": "`wide.npy` has the shape (5, 4); `input` takes (batch, sequence, 3).",
    }.items():
        browser.find("#panel input").send_keys(str(tmp_path / name))
        browser.wait(f"document.querySelector('#input .error').textContent.includes('{name}')")
        assert browser.text("#input .error") == sentence
    assert browser.logs() == []


def write_sound(path: Path, rate: int, samples: NDArray[Any]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def test_sound(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """A .wav runs at the model's rate, and the microphone runs while the page does."""
    open_page(browser, pages["sound"])
    samples = (9000 * np.sin(np.arange(16000) ** 1.2 / 40)).astype(np.int16)
    write_sound(tmp_path / "own.wav", 16000, samples)
    write_sound(tmp_path / "half.wav", 8000, samples[::2])
    (tmp_path / "no.wav").write_text("no sound")
    expected = python_model(pages["sound"]).stream().feed(samples[None] / np.float32(32768))
    assert isinstance(expected, np.ndarray)
    set_speed(browser, Keys.END)
    browser.find("[value=sound]").click()
    for name in ("own.wav", "half.wav"):
        browser.find("#panel input").send_keys(str(tmp_path / name))
        browser.wait(f"document.querySelector('.drop b').textContent === '{name}'")
        browser.find("#reset").click()
        browser.find("#run").click()
        browser.wait(f"{ENDED} && document.getElementById('steps').textContent === '100'")
        if name == "own.wav":
            assert_shown(browser, expected[0, -1])
            browser.picture(PICTURES / "sound-after.png")
    browser.find("#panel input").send_keys(str(tmp_path / "no.wav"))
    browser.wait("document.querySelector('#input .error').textContent")
    assert browser.text("#input .error") == (
        "`no.wav` is not a sound that this browser decodes to 16000 samples a second. "
        "Save it as .wav."
    )

    browser.find("[value=microphone]").click()
    browser.find("#reset").click()
    browser.find("#run").click()
    browser.wait("Number(document.getElementById('steps').textContent) > 20")
    browser.find("#run").click()
    assert browser.text("#input .error") == ""
    assert browser.logs() == []


def test_keyboard_alone(browser: Browser, pages: dict[str, Path]) -> None:
    """Every control is reached in the order of the page, shows the focus, and obeys keys."""
    open_page(browser, pages["two_layer_gru"], still=True)
    focused = (
        "(one => [one.id || one.value || one.className,"
        " getComputedStyle(one.matches('.choice input') ? one.nextElementSibling : one)"
        ".outlineStyle])(document.activeElement)"
    )
    browser.find("body").send_keys(Keys.TAB)
    stops = []
    while (stop := browser.value(focused))[0] != "wide":
        stops.append(stop)
        assert len(stops) < 30
        browser.press(Keys.TAB)
    names = [name for name, _ in stops]
    assert names[:6] == ["light", "run", "step", "reset", "speed", "sliders"]
    assert len(names) == 9  # three sliders
    assert {outline for _, outline in stops} == {"solid"}

    browser.press(Keys.SHIFT + Keys.TAB)  # the last slider
    browser.press(Keys.END)
    assert float(browser.value("document.activeElement.value")) > 0
    browser.value("document.getElementById('run').focus()")
    browser.press(Keys.TAB, Keys.ENTER)  # one step
    browser.wait("document.getElementById('steps').textContent === '1'")
    browser.press(Keys.SHIFT + Keys.TAB, Keys.SPACE)
    browser.wait("Number(document.getElementById('steps').textContent) > 4")
    browser.press(Keys.SPACE)
    assert browser.text("#run") == "Run"
    browser.wait("document.getElementById('status').textContent.startsWith('Paused after')")
    browser.press(Keys.TAB, Keys.TAB, Keys.ENTER)
    browser.wait("document.getElementById('steps').textContent === '0'")
    browser.press(Keys.TAB, Keys.ARROW_RIGHT)
    assert browser.value("document.activeElement.getAttribute('aria-valuetext')") == "50 a second"
    browser.press(Keys.TAB, Keys.ARROW_RIGHT)
    assert browser.value("document.activeElement.value") == "file"
    assert browser.value("document.querySelector('.heat canvas').clientHeight") < 40  # no history


CASES: dict[str, dict[str, Any]] = {
    "step-only": {"graphs": ("step",)},
    "sequence-only": {"graphs": ("sequence",)},
    "constant": {"graphs": ("sequence",), "steps": 5},
    "no-carry": {"carry": False, "graphs": ("sequence",)},
}


@pytest.mark.parametrize("case", CASES)
def test_kinds_of_graphs(browser: Browser, served: str, tmp_path: Path, case: str) -> None:
    """A model with one graph, with calls of a constant length or without a carried state runs."""
    artifact = small_artifacts.features(tmp_path / "model.edgernn", **CASES[case])
    embed(artifact, tmp_path / "page")
    browser.look()
    browser.open(f"{served}/page/index.html")
    browser.wait(PASSED)
    browser.find("[value=recorded]").click()
    browser.find("#step").click()
    golden = np.load(artifact / "golden" / "output.npy")
    steps = golden.shape[1] if case == "no-carry" else 1
    browser.wait(f"document.getElementById('steps').textContent === '{steps}'")
    assert_shown(browser, golden[0, {"constant": 4, "no-carry": -1}.get(case, 0)])
    assert browser.text("h1") == "RNN(2, 3)"
    nothing = "This model carries no state from step to step."
    assert (browser.text("#state") == nothing) == (case == "no-carry")
    assert browser.logs() == []
    assert {url.split("/")[2] for url in browser.requests()} == {served.split("/")[2]}


def test_sound_that_a_model_gives(browser: Browser, served: str, tmp_path: Path) -> None:
    """An output with as many samples as the sound that came in is played, and stops."""
    framed.write(tmp_path / "model.edgernn", framed.Framed(12, 4))
    project = embed(tmp_path / "model.edgernn", tmp_path / "page")
    contract = json.loads((project / "model.edgernn" / "contract.json").read_text("utf-8"))
    contract["sample_rate"] = 8000
    (project / "model.edgernn" / "contract.json").write_text(json.dumps(contract))
    browser.look()
    browser.open(f"{served}/page/")
    browser.wait(PASSED)
    assert len(browser.driver.find_elements("css selector", ".listen")) == 1
    assert not browser.find(".listen").is_enabled()
    # as fast as it can, the model would come to the end of its table before the second click
    set_speed(browser, Keys.END + 2 * Keys.ARROW_LEFT)
    browser.find("#run").click()
    browser.wait("Number(document.getElementById('steps').textContent.replace(',', '')) > 500")
    browser.find("#run").click()
    browser.wait("document.querySelector('.listen').textContent !== 'Listen to the last 0.0 s'")
    browser.find(".listen").click()
    browser.wait("document.querySelector('.listen').textContent === 'Stop'")
    browser.wait("document.querySelector('.listen').textContent.startsWith('Listen')")
    assert browser.logs() == []


def test_what_is_wrong_is_said(browser: Browser, served: str, tmp_path: Path) -> None:
    """A page without its files, with a changed graph or recorded run says so in a sentence."""
    artifact = small_artifacts.features(tmp_path / "model.edgernn")
    project = embed(artifact, tmp_path / "page")
    model = project / "model.edgernn"
    problem = "document.getElementById('problem')"

    browser.open((project / "index.html").as_uri())
    browser.wait(f"!{problem}.hidden")
    assert browser.text("#problem") == (
        "A browser opens this page from a web server only. Open offline.html instead, which "
        "node build.mjs writes."
    )
    output = np.load(model / "golden" / "output.npy")
    np.save(model / "golden" / "output.npy", output + 0.5)
    browser.open(f"{served}/page/")
    browser.wait("document.getElementById('light').dataset.state === 'failed'")
    assert browser.text("#light_title") == "Self-check failed"
    assert browser.text("#ways tr td:last-child") == "too large"

    graph = (model / "step.onnx").read_bytes()
    (model / "step.onnx").write_bytes(graph.replace(b"0123456789abcdef", b"0123456789abcdee"))
    browser.open(f"{served}/page/")
    browser.wait(f"!{problem}.hidden")
    assert "Graphs of two exports must not be mixed" in browser.text("#problem")

    (model / "step.onnx").unlink()
    browser.open(f"{served}/page/")
    browser.wait(f"!{problem}.hidden")
    assert browser.text("#problem") == (
        "`model.edgernn/step.onnx` cannot be read (404). Put it beside this page."
    )
    (project / "edgernn.mjs").unlink()
    browser.open(f"{served}/page/")
    browser.wait(f"!{problem}.hidden")
    assert browser.text("#problem").startswith("The page cannot start: ")
