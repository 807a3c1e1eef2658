"""buildah, as far as trying the containers needs it: no daemon, and no registry but for the base."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

GRACE = 15.0  # seconds between asking a container to end and making it


def build(dockerfile: Path, tag: str, arguments: Mapping[str, str], options: Sequence[str]) -> None:
    """Build the image from this folder; `options` are more options of `buildah bud`."""
    pairs = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    _buildah("bud", "--layers", *options, *pairs, "-t", tag, "-f", str(dockerfile), ".")


def image(tag: str) -> dict[str, object]:
    """The image's configuration: User, Env, Entrypoint, WorkingDir, …"""
    configuration: dict[str, object] = json.loads(_output("inspect", "--type", "image", tag))["OCIv1"][
        "config"
    ]
    return configuration


def size(tag: str) -> str:
    """Of the image on disk, uncompressed."""
    return str(json.loads(_output("images", "--json", tag))[0]["size"])


class Container:
    """One container, as its image says it shall run, on this machine's own network."""

    def __init__(self, tag: str, environment: Mapping[str, str], log: Path):
        self._image = image(tag)
        self._log = log
        self._environment = [f"--env={name}={value}" for name, value in environment.items()]
        self._name = _output("from", tag).strip()
        self.root = Path(_output("mount", self._name).strip())
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        entry = self._image["Entrypoint"]
        assert isinstance(entry, list)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["buildah", "run", "--cap-drop=all", *self._environment, self._name, "--", *entry],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def run(self, *command: str) -> str:
        """The output of a command in the container."""
        return _output("run", "--cap-drop=all", *self._environment, self._name, "--", *command)

    def wait(self, seconds: float) -> int:
        """The exit status."""
        assert self._process
        return self._process.wait(seconds)

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def log(self) -> str:
        return self._log.read_text()

    def processes(self) -> list[psutil.Process]:
        """The container's own, without buildah's, the server first."""
        assert self._process
        every = psutil.Process(self._process.pid).children(recursive=True)
        return [process for process in every if "buildah" not in process.name() and process.uids().real != 0]

    def remove(self) -> None:
        """Stop it as an orchestrator would, and delete its files."""
        if self._process and not self.has_ended():
            for process in self.processes()[:1]:
                process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _buildah("umount", self._name)
        _buildah("rm", self._name)


def _buildah(*arguments: str) -> None:
    subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.DEVNULL)


def _output(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
