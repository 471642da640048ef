"""Drive the JavaScript host in a browser: commands go to a page in Chromium without a window.

The page is served from a folder of links on 127.0.0.1: the module, ONNX Runtime, and each artifact
that a command opens.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.hosts.chromium import serve, start_chromium

DRIVERS = Path(__file__).resolve().parent
JAVASCRIPT = DRIVERS.parents[2] / "runtime" / "hosts" / "js"

ASK = """
const [line, done] = arguments;
window.answer(line).then(done, (error) => done(`failed ${error.stack}`));
"""


def open_browser(page: str, profile: str) -> webdriver.Chrome:
    """Start Chromium and load a page that drives the host."""
    browser = start_chromium(f"--user-data-dir={profile}")
    browser.set_script_timeout(60)
    browser.get(page)
    WebDriverWait(browser, 60).until(lambda one: one.execute_script("return !!window.answer"))
    return browser


def main() -> None:
    """Answer the commands of standard input."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as profile:
        served, numbers = Path(folder), itertools.count()
        modules = Path(os.environ["EDGERNN_NODE_MODULES"])
        (served / "driver.html").symlink_to(DRIVERS / "driver.html")
        (served / "drivers").symlink_to(DRIVERS)
        (served / "js").symlink_to(JAVASCRIPT)
        (served / "onnxruntime-web").symlink_to(modules / "onnxruntime-web" / "dist")
        with serve(served) as address:
            browser = open_browser(f"{address}/driver.html", profile)
            try:
                for line in sys.stdin:
                    command, *words = line.split()
                    if command in ("open", "open_memory", "check"):
                        place, name = Path(words[0]), str(next(numbers))
                        link = place.parent if place.suffix == ".onnx" else place
                        (served / name).symlink_to(link)
                        words[0] = f"{name}/{place.name}" if link != place else name
                    answer = browser.execute_async_script(ASK, " ".join([command, *words]))
                    print(answer, flush=True)
            finally:
                browser.quit()


if __name__ == "__main__":
    main()
