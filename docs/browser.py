"""A headless Chromium that takes pictures of pages, driven by the W3C WebDriver protocol.

Needs `chromium` and `chromedriver` (Debian: apt install chromium chromium-driver) and no package
of Python's: the protocol is JSON over HTTP.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from base64 import b64decode
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

# Chromium's own services would only wait for a network that may not be there.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PATIENCE_SECONDS = 30.0
WIDEST_PHONE = 600
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in the protocol


class Browser:
    """One window of a browser. Use it as a context manager, from one thread."""

    def __init__(self, width: int = 1280, height: int = 800) -> None:
        found: dict[str, str] = {}
        for program in ("chromium", "chromedriver"):
            if path := shutil.which(program):
                found[program] = path
            else:
                raise SystemExit(f"{program} is missing (apt install chromium chromium-driver)")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-")
        self._driver = subprocess.Popen(
            [found["chromedriver"], f"--port={self._port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        flags = [*FLAGS, f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"performance": "ALL"},
        }
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{session['sessionId']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._call("DELETE", self._session)
        self._driver.terminate()
        self._driver.wait()
        self._profile.cleanup()

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page and return what it returns."""
        body = {"script": script, "args": list(arguments)}
        return self._call("POST", f"{self._session}/execute/sync", body)

    def wait_for(self, condition: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a JavaScript expression is true in the page.

        Raises:
            TimeoutError: if it is not true after that many seconds.
        """
        until = time.monotonic() + patience_seconds
        while not self.run(f"return Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(f"in the page this never became true: {condition}")
            time.sleep(0.1)

    def requested(self) -> list[str]:
        """Return the addresses that were asked for since the last call, whatever came of it."""
        log = self._call("POST", f"{self._session}/se/log", {"type": "performance"})
        messages = [json.loads(each["message"])["message"] for each in log]
        return [
            each["params"]["request"]["url"]
            for each in messages
            if each["method"] == "Network.requestWillBeSent"
        ]

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, where the focus is."""
        pressed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": pressed}
        self._call("POST", f"{self._session}/actions", {"actions": [keyboard]})

    def emulate(self, width: int, height: int, *, scheme: str) -> None:
        """Be a screen of another size, whose owner likes pages `light` or `dark`."""
        metrics = {
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": width < WIDEST_PHONE,
        }
        liked = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        for command, parameters in (
            ("Emulation.setDeviceMetricsOverride", metrics),
            ("Emulation.setEmulatedMedia", liked),
        ):
            body = {"cmd": command, "params": parameters}
            self._call("POST", f"{self._session}/goog/cdp/execute", body)

    def picture(self, path: Path, selector: str = "") -> None:
        """Save a picture of the window, or of the first element that the CSS selector finds."""
        if selector:
            query = {"using": "css selector", "value": selector}
            element = self._call("POST", f"{self._session}/element", query)[ELEMENT]
            png = self._call("GET", f"{self._session}/element/{element}/screenshot")
        else:
            png = self._call("GET", f"{self._session}/screenshot")
        path.write_bytes(b64decode(png))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
            # chromedriver needs a moment to come up
            with closing(connection), suppress(ConnectionRefusedError):
                text = None if body is None else json.dumps(body)
                connection.request(method, path, text, {"Content-Type": "application/json"})
                value = json.loads(connection.getresponse().read())["value"]
                break
            if time.monotonic() > until:
                raise TimeoutError("chromedriver does not answer")
            time.sleep(0.1)
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{method} {path}: {value['message']}")
        return value
