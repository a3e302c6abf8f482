"""A real browser for the tests of pages: opens them in frames of given widths, and says what it measured and what it complained of."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
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
    "--enable-logging=stderr",
)

# Pages lie in frames, because a browser's own window is no narrower than 500 pixels. Each is judged as soon as all have loaded.
WRAPPER = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><body>{frames}
<script>addEventListener("load", () => {{
  const judge = (frame) => {{ const window = frame.contentWindow, document = frame.contentDocument; {script} }};
  const safely = (frame) => {{ try {{ return judge(frame); }} catch (error) {{ return {{ error: String(error) }}; }} }};
  const found = [...document.querySelectorAll("iframe")].map(safely);
  const result = document.createElement("pre");
  result.textContent = JSON.stringify(found);
  document.body.replaceChildren(result);
}});</script>"""


@dataclass(frozen=True)
class Seen:
    """What the script returned for each page, and the lines of the browser's console."""

    found: list[Any]
    console: list[str]


def chromium() -> str:
    """The browser's program; the test is skipped where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium or Chrome on this machine")
    return found


def look(pages: Sequence[tuple[str, int]], script: str, folder: Path, *, dark: bool = False) -> Seen:
    """Open pages, each at a width in pixels, and run `script` on each: it sees `window` and `document` and returns what JSON can hold."""
    frames = "".join(
        f'<iframe style="border:0;color-scheme:light dark" width="{width}" height="900" srcdoc="{html.escape(page)}"></iframe>'
        for page, width in pages
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(WRAPPER.format(frames=frames, script=script), "utf-8")
    done = run(wrapper, folder, {"blink-settings": f"preferredColorScheme={0 if dark else 1}", "dump-dom": ""})
    match = re.search(r"<pre>(.*?)</pre>", done.stdout, re.S)
    assert match, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(json.loads(html.unescape(match[1])), console)


def run(page: Path, folder: Path, flags: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The browser, once, with a fresh profile."""
    extra = [f"--{name}" + (f"={value}" if value else "") for name, value in flags.items()]
    command = [chromium(), *FLAGS, f"--user-data-dir={folder / 'profile'}", *extra, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
