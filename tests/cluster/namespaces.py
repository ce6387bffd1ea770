"""A network of its own for one process, with a cable to this host for each server that it needs.

To pull a cable takes root on Linux. Nothing is refused then and nothing is reset: packets are lost, as they are when a
switch fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


class NotPermitted(Exception):
    """This machine or this user may not have one; the text says why."""


class Namespace:
    """Made at once, and gone with `close`. Addresses are of TEST-NET-2, which nobody has."""

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise NotPermitted("Network namespaces are Linux's.")
        if shutil.which("ip") is None:
            raise NotPermitted("There is no `ip` (iproute2).")
        self.name = f"lightmoon-{os.getpid()}"
        self._cables = 0
        _ip("netns", "add", self.name)
        try:
            self._inside("link", "set", "lo", "up")
        except NotPermitted:
            self.close()
            raise

    @property
    def command(self) -> list[str]:
        """What to put in front of a command that is to run inside."""
        return ["ip", "netns", "exec", self.name]

    def cable(self) -> tuple[str, str]:
        """A new one: its name, and this host's address at it."""
        self._cables += 1
        here, there = f"lm{os.getpid()}h{self._cables}", f"lm{os.getpid()}n{self._cables}"
        first = 4 * self._cables
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        _ip("addr", "add", f"198.51.100.{first + 1}/30", "dev", here)
        _ip("link", "set", here, "up")
        self._inside("addr", "add", f"198.51.100.{first + 2}/30", "dev", there)
        self._inside("link", "set", there, "up")
        return here, f"198.51.100.{first + 1}"

    @staticmethod
    def pull(cable: str) -> None:
        _ip("link", "set", cable, "down")

    @staticmethod
    def plug(cable: str) -> None:
        _ip("link", "set", cable, "up")

    def close(self) -> None:
        """Cables go with it."""
        _ip("netns", "del", self.name)

    def _inside(self, *arguments: str) -> None:
        _ip("-netns", self.name, *arguments)


def _ip(*arguments: str) -> None:
    found = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NotPermitted(f"`ip {' '.join(arguments)}` failed: {found.stderr.strip()}")
