"""A user's changes of objects, through each of the clients: upload, overwrite, move, copy, remove."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from node_programs import Node
from supabase import Client

BUCKET = "images"
PNG = "image/png"


class Hand(Protocol):
    def upload(self, name: str, data: bytes) -> None: ...
    def overwrite(self, name: str, data: bytes) -> None: ...
    def move(self, name: str, new_name: str) -> None: ...
    def copy(self, name: str, new_name: str) -> None: ...
    def remove(self, name: str) -> None: ...


class SupabasePy:
    def __init__(self, client: Client):
        self._images = client.storage.from_(BUCKET)

    def upload(self, name: str, data: bytes) -> None:
        self._images.upload(name, data, {"content-type": PNG})

    def overwrite(self, name: str, data: bytes) -> None:
        self._images.update(name, data, {"content-type": PNG})

    def move(self, name: str, new_name: str) -> None:
        self._images.move(name, new_name)

    def copy(self, name: str, new_name: str) -> None:
        self._images.copy(name, new_name)

    def remove(self, name: str) -> None:
        assert len(self._images.remove([name])) == 1


class SupabaseJs:
    def __init__(self, node: Node):
        self._node = node

    def call(self, call: str, *arguments: Any, on: str = "storage") -> Any:
        """The `data` of an answer without an error."""
        answer = self.ask(call, *arguments, on=on)
        assert answer["error"] is None, answer
        return answer["data"]

    def ask(self, call: str, *arguments: Any, on: str = "storage") -> Any:
        return self._node.ask(on=[on, BUCKET], call=call, args=arguments)

    def upload(self, name: str, data: bytes) -> None:
        self.call("upload", name, data, {"contentType": PNG})

    def overwrite(self, name: str, data: bytes) -> None:
        self.call("upload", name, data, {"contentType": PNG, "upsert": True})

    def move(self, name: str, new_name: str) -> None:
        self.call("move", name, new_name)

    def copy(self, name: str, new_name: str) -> None:
        self.call("copy", name, new_name)

    def remove(self, name: str) -> None:
        assert len(self.call("remove", [name])) == 1


class Curl:
    """As one types it: bare bytes, a form where there is none, names escaped."""

    def __init__(self, url: str, key: str, folder: Path):
        self._root = f"{url}/storage/v1"
        self._key = key
        self._file = folder / "picture.png"

    def upload(self, name: str, data: bytes) -> None:
        self._file.write_bytes(data)
        form = ["-F", "cacheControl=60", "-F", 'metadata={"camera": "K1"}', "-F", f"file=@{self._file}"]
        self._run(f"/object/{BUCKET}/{quote(name)}", *form)

    def overwrite(self, name: str, data: bytes) -> None:
        self._file.write_bytes(data)
        body = ["-H", f"content-type: {PNG}", "--data-binary", f"@{self._file}"]
        self._run(f"/object/{BUCKET}/{quote(name)}", "-X", "PUT", *body)

    def move(self, name: str, new_name: str) -> None:
        self._post("/object/move", name, new_name)

    def copy(self, name: str, new_name: str) -> None:
        self._post("/object/copy", name, new_name)

    def remove(self, name: str) -> None:
        self._run(f"/object/{BUCKET}/{quote(name)}", "-X", "DELETE")

    def _post(self, path: str, name: str, new_name: str) -> None:
        body = f'{{"bucketId": "{BUCKET}", "sourceKey": "{name}", "destinationKey": "{new_name}"}}'
        self._run(path, "-H", "content-type: application/json", "-d", body)

    def _run(self, path: str, *arguments: str) -> None:
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30"]
        header = ["-H", f"apikey: {self._key}"]
        subprocess.run([*command, *header, *arguments, self._root + path], check=True, stdout=subprocess.PIPE)


class TusJs:
    """Uploads in parts of a hundred bytes; actions that the protocol lacks are left to another hand."""

    def __init__(self, node: Node, url: str, key: str, other: Hand):
        self._node = node
        self._endpoint = f"{url}/storage/v1/upload/resumable"
        self._key = key
        self.move, self.copy, self.remove = other.move, other.copy, other.remove

    def upload(self, name: str, data: bytes) -> None:
        answer = self.send(name, data)
        assert answer.get("done"), answer

    def overwrite(self, name: str, data: bytes) -> None:
        answer = self.send(name, data, upsert=True)
        assert answer.get("done"), answer

    def send(
        self,
        name: str,
        data: bytes,
        *,
        upsert: bool = False,
        stop_after: int | None = None,
        headers: dict[str, str] | None = None,
        path: str = "",
        **options: Any,
    ) -> Any:
        metadata = {"bucketName": BUCKET, "objectName": name, "contentType": PNG, "cacheControl": "3600"}
        given: dict[str, Any] = {
            "endpoint": self._endpoint + path,
            "headers": headers or {"apikey": self._key, "x-upsert": str(upsert).lower()},
            "metadata": metadata,
            "chunkSize": 100,
            **options,
        }
        stop = {} if stop_after is None else {"stopAfter": stop_after}
        return self._node.ask(data=base64.b64encode(data).decode(), options=given, **stop)
