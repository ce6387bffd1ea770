"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
PATIENCE = 20.0  # seconds for anything that should happen in a page
POLL = 0.03  # seconds
FRAMES_KEPT = 40  # for failure messages


def executable() -> str:
    """Where Chromium is. Raises `LookupError` that says how to get it."""
    wanted = os.environ.get("LIGHTMOON_CHROMIUM")
    for name in (wanted,) if wanted else NAMES:
        found = shutil.which(name)
        if found:
            return found
    raise LookupError(
        "The browser tests need Chromium. Install it (on Debian: apt-get install chromium), "
        "or say where it is: LIGHTMOON_CHROMIUM=/path/to/chromium"
    )


def until(check: Callable[[], Any], what: str | Callable[[], str], patience: float = PATIENCE) -> Any:
    """What `check` gives once it is true. Fails with `what` when that takes longer than `patience` seconds."""
    deadline = time.monotonic() + patience
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {patience} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL)
    return found


class Browser:
    """One Chromium process with a profile of its own. A context manager."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._profile = tempfile.TemporaryDirectory(prefix="lightmoon-chromium-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [executable(), *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._socket = self._connect()
        except BaseException:
            self._end()
            raise
        self._ids = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._windows: dict[str, Window] = {}

    def _connect(self) -> ClientConnection:
        port_file = Path(self._profile.name) / "DevToolsActivePort"

        def where() -> list[str]:
            lines = port_file.read_text().split() if port_file.exists() else []
            return lines if len(lines) == 2 else []

        port, path = until(where, lambda: f"Chromium is listening (its exit code: {self._process.poll()})")
        address = f"ws://127.0.0.1:{port}{path}"
        # No pings: on a machine that is busy with other tests the browser may answer one too late.
        return self._stack.enter_context(
            connect(address, max_size=None, compression=None, proxy=None, ping_interval=None)
        )

    def window(self, url: str, *, width: int = 1280, height: int = 800) -> Window:
        """A new window with cookies and storage of its own, at `url`."""
        context = self.send("Target.createBrowserContext", {})["browserContextId"]
        return self.window_in(context, url, width=width, height=height)

    def window_in(self, context: str, url: str, *, width: int = 1280, height: int = 800) -> Window:
        """A new window that shares cookies and storage with those of its context."""
        target = self.send(
            "Target.createTarget",
            {"url": "about:blank", "browserContextId": context, "width": width, "height": height, "newWindow": True},
        )["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        window = self._windows[session] = Window(self, session, target, context)
        for domain in ("Page", "Runtime", "Network", "Log"):
            window.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        window.send("Emulation.setDeviceMetricsOverride", size)
        window.goto(url)
        return window

    def send(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """One command and its result. Raises `RuntimeError` with the browser's words."""
        self._ids += 1
        wanted = self._ids
        message = {"id": wanted, "method": method, "params": params, **({"sessionId": session} if session else {})}
        self._socket.send(json.dumps(message))
        while wanted not in self._answers:
            self._take(json.loads(self._socket.recv(timeout=PATIENCE)))
        answer = self._answers.pop(wanted)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif message.get("sessionId") in self._windows:
            self._windows[message["sessionId"]].heard(message["method"], message["params"])

    def close(self) -> None:
        """End the browser."""
        self._stack.close()
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Window:
    """One page. `troubles` collects uncaught errors, console errors and violations of the security policy."""

    def __init__(self, browser: Browser, session: str, target: str, context: str) -> None:
        self._context = context
        self._browser = browser
        self._session = session
        self._target = target
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.frames: collections.deque[str] = collections.deque(maxlen=FRAMES_KEPT)

    def beside(self, url: str, **size: int) -> Window:
        """Another window of the same user."""
        return self._browser.window_in(self._context, url, **size)

    def send(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._browser.send(method, params or {}, self._session)

    def heard(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.troubles.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.troubles.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.troubles.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method in ("Network.webSocketFrameSent", "Network.webSocketFrameReceived"):
            arrow = "→" if method.endswith("Sent") else "←"
            self.frames.append(f"{arrow} {params['response']['payloadData'][:300]}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def goto(self, url: str) -> None:
        """Load a page, and wait until it has run its modules."""
        error = self.send("Page.navigate", {"url": url}).get("errorText")
        assert error is None, f"{url}: {error}"
        self.wait("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression; a promise's when it is fulfilled. Raises `AssertionError` for what it throws."""
        answer = self.send("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True})
        failure = answer.get("exceptionDetails")
        assert failure is None, f"{expression}: {failure.get('exception', {}).get('description', failure['text'])}"
        return answer["result"].get("value")

    def wait(self, expression: str, patience: float = PATIENCE) -> Any:
        """The expression's value once it is true."""
        return until(lambda: self.js(expression), lambda: f"{expression}\n{self.describe()}", patience)

    def text(self, selector: str) -> str:
        found: str = self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    def wait_for_text(self, selector: str, wanted: str, patience: float = PATIENCE) -> None:
        """Until the element's text contains `wanted`."""
        self.wait(
            f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(wanted)})",
            patience,
        )

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def write(self, selector: str, text: str, *, enter: bool = True) -> None:
        """Type into a field as a user would, replacing what is there."""
        self.js(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.send("Input.insertText", {"text": text})
        if enter:
            for kind in ("keyDown", "keyUp"):
                key = {"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
                self.send("Input.dispatchKeyEvent", key)

    def screenshot(self, path: Path) -> None:
        data = self.send("Page.captureScreenshot", {"format": "png"})["data"]
        path.write_bytes(base64.b64decode(data))

    def describe(self) -> str:
        """What the page shows, for failure messages."""
        shown = self.js("document.body?.innerText ?? ''")
        frames = "\n".join(self.frames)
        return f"The page shows:\n{shown}\nTroubles: {self.troubles}\nIts last WebSocket frames:\n{frames}"

    def close(self) -> None:
        self._browser.send("Target.closeTarget", {"targetId": self._target})
