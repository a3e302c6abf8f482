"""A real browser driven over its debugging pipe: goes to pages, types, presses keys, measures, takes pictures; hears all complaints and requests."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.reports.browser import FLAGS, chromium

# The browser hears at file 3 and answers at file 4.
LAUNCH = """
import os, sys
hear, answer = (os.dup2(int(name), 100 + i) for i, name in enumerate(sys.argv[1:3]))
os.dup2(hear, 3), os.dup2(answer, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
}


class Browser:
    """One page. `complaints` are errors and warnings of its console, `asked` the URLs it requested."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest, self._last = write, read, b"", 0
        self._ready = selectors.DefaultSelector()
        self._ready.register(read, selectors.EVENT_READ)
        self._session: str | None = None
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self._last:
                assert "error" not in heard, heard
                result: dict[str, Any] = heard["result"]
                return result

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert self._ready.select(30), "the browser says nothing"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser has gone"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        heard: dict[str, Any] = json.loads(line)
        method, told = heard.get("method"), heard.get("params", {})
        if method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(told["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        return heard

    def size(self, width: int, height: int = 800, *, dark: bool = False) -> None:
        """The window's size in points, and what the reader prefers."""
        phone = width < 500
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, url: str, until: str = "document.readyState === 'complete'") -> None:
        """Open a page and wait until the expression holds."""
        self.call("Page.navigate", url=url)
        self.until(f"location.href !== 'about:blank' && ({until})")

    def see(self, expression: str) -> Any:
        """The value of an expression (awaited if it is a promise)."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str, seconds: float = 10.0) -> None:
        """Wait until the expression holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):  # a page on its way out cannot answer
                if self.see(f"Boolean({expression})"):
                    return
            time.sleep(0.02)
        raise TimeoutError(f"{expression} does not come true; complaints: {self.complaints}")

    def type(self, text: str) -> None:
        """Into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """One key, down and up."""
        name, code, text = KEYS[key] if key in KEYS else (key, ord(key.upper()), key)
        down = {"type": "keyDown", "key": name, "windowsVirtualKeyCode": code} | ({"text": text} if text else {})
        self.call("Input.dispatchKeyEvent", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def picture(self, path: Path) -> None:
        """What is to be seen, as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a fresh profile in `folder`; skips the test where there is none."""
    program = chromium()
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    flags = [*FLAGS, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe", "about:blank"]
    command = [sys.executable, "-S", "-c", LAUNCH, str(to_read), str(from_write), program, *flags]
    with subprocess.Popen(
        command, pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(to_read)
        os.close(from_write)
        try:
            page = Browser(to_write, from_read)
            yield page
            page._session = None
            with contextlib.suppress(AssertionError, OSError):
                page.call("Browser.close")
        finally:
            os.close(to_write)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(from_read)
