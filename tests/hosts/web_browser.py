"""A browser without a window, driven by the tests of pages."""

from __future__ import annotations

import base64
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.hosts.chromium import start_chromium

__all__ = ["AXE", "MODULES", "Browser", "Keys"]

MODULES = Path(__file__).parents[2] / "build" / "npm" / "node_modules"
AXE = MODULES / "axe-core" / "axe.min.js"

_FLAGS = (
    "--hide-scrollbars",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


class Browser:
    """Chromium on one page; a test sees what a user sees, and what the page asked the network for.

    Attributes:
        driver: Selenium's own driver.
    """

    def __init__(self) -> None:
        for program in ("chromium", "chromedriver"):
            if not shutil.which(program):
                pytest.skip(f"there is no `{program}` here; scripts/hosts installs it")
        logs = {"browser": "ALL", "performance": "ALL"}
        self.driver = start_chromium(*_FLAGS, **{"goog:loggingPrefs": logs})

    def command(self, name: str, **values: Any) -> Any:
        """Run a command of Chromium's protocol for developers."""
        return self.driver.execute_cdp_cmd(name, values)

    def look(self, width: int = 1280, dark: bool = False, still: bool = False) -> None:
        """Set the width of the window in pixels, and what the user prefers."""
        phone = width < 500
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844 if phone else 900,
            deviceScaleFactor=1,
            mobile=phone,
        )
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.command("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Open a page and forget what was logged before."""
        self.driver.get("about:blank")
        self.logs()
        self.requests()
        self.driver.get(url)

    def value(self, expression: str) -> Any:
        """Return the value of an expression in JavaScript."""
        return self.driver.execute_script(f"return {expression}")

    def wait(self, expression: str, seconds: float = 30) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"not true: {expression}\n{self.logs()}"
            time.sleep(0.05)

    def find(self, selector: str) -> Any:
        """Return the element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return the text of an element, as it is written in the page."""
        text: str = self.value(f"document.querySelector({json.dumps(selector)}).textContent.trim()")
        return text

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def picture(self, path: Path, selector: str = "html") -> bytes:
        """Write a picture of an element, seen or not, and return its bytes."""
        box = self.value(
            f"(r => ({{x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height}}))"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        taken = self.command(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**box, "scale": 1}
        )
        data = base64.b64decode(taken["data"])
        path.write_bytes(data)
        return data

    def logs(self) -> list[str]:
        """Return the messages of the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call, but those of data."""
        messages = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        urls = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "blob:", "about:"))]

    def violations(self) -> list[str]:
        """Return what axe finds against WCAG 2.2 AA and its best practices."""
        self.driver.execute_script(AXE.read_text("utf-8"))
        found = self.driver.execute_async_script(
            "axe.run({resultTypes: ['violations']}).then(arguments[0])"
        )
        return [
            f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
