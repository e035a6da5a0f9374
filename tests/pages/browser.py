"""A headless Chromium, spoken to over a pipe by its own protocol: no driver, no open port."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


class Browser:
    """One tab. `with Browser(profile) as tab: tab.open(url, width=390, dark=True)`."""

    def __init__(self, profile: Path):
        out, self._to = os.pipe()
        self._from, into = os.pipe()
        words = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        # Chromium reads from 3 and writes to 4
        command = ["bash", "-c", f'exec "$@" 3<&{out} 4>&{into}', "bash", *words]
        self._process = subprocess.Popen(
            command, pass_fds=(out, into), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        os.close(out)
        os.close(into)
        self._rest, self._number, self._session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        flat = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = flat["sessionId"]
        for room in ("Page", "Network", "Runtime"):
            self.call(f"{room}.enable")
        self.call("Page.setBypassCSP", enabled=True)  # axe is put into pages that allow no script

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session = None
        with contextlib.suppress(OSError, EOFError):
            self.call("Browser.close")
        self._process.wait(timeout=20)
        os.close(self._to)
        os.close(self._from)

    def call(self, method, **params):
        """Send one command and return its result; events that come first are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._read()
            if reply.get("id") == self._number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def _read(self):
        while b"\0" not in self._rest:
            more = os.read(self._from, 1 << 16)
            if not more:
                raise EOFError("Chromium has ended")
            self._rest += more
        one, _, self._rest = self._rest.partition(b"\0")
        return json.loads(one)

    def open(self, url, width=1280, dark=False, printed=False):
        """Load a page at a width in CSS pixels, light or dark, on screen or as for paper."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = "print" if printed else "screen"
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._read())

    def requests(self):
        """The addresses that the page asked for since it was opened."""
        sent = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]

    def run(self, script):
        """The value of a JavaScript expression in the page; promises are awaited."""
        done = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")
