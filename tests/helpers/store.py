"""A store of objects on this machine: a real HTTP server that sends ranges of bytes, and misbehaves as told."""

import re
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Store:
    """Serves `objects` until it is closed.

    Attributes:
        objects: content by name.
        asked: (method, name, begin, end) of every request; begin and end None without a range.
        sent: bytes of content sent.
        mischief: called as mischief(method, name, number of the request) for each request; what it returns is done:
            None nothing, a number that status, "cut" half the content is sent, "short" half the range and said so,
            "stall" nothing is sent for 2 s, "slow" it is sent in pieces, with pauses.
        ranges, etags, lengths: whether it knows these.
        conditions: whether it looks at If-Match.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, int | None, int | None]] = []
        self.sent = 0
        self.mischief: Callable[[str, str, int], Any] = lambda method, name, number: None
        self.ranges = self.etags = self.lengths = self.conditions = True
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                store.answer(self)

            do_GET = do_HEAD

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.lstrip("/")
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", "")) if self.ranges else None
        begin, end = (int(found[1]), int(found[2]) + 1) if found else (None, None)
        self.asked.append((request.command, name, begin, end))
        done = self.mischief(request.command, name, len(self.asked))
        if name not in self.objects and not name.endswith("/") and name:
            done = done or 404
        content = self.objects.get(name, self._page(name))
        etag = f'"{zlib.crc32(content):08x}"'
        if self.conditions and request.headers.get("If-Match", etag) != etag:
            done = done or 412
        if done == "stall":
            time.sleep(2)
            request.close_connection = True
            return
        if isinstance(done, int):
            request.send_response(done)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        size = len(content)
        request.send_response(206 if found else 200)
        if found:
            content = content[begin : begin + (end - begin) // 2 if done == "short" else end]
            request.send_header("Content-Range", f"bytes {begin}-{begin + len(content) - 1}/{size}")
        if self.ranges:
            request.send_header("Accept-Ranges", "bytes")
        if self.etags:
            request.send_header("ETag", etag)
        if self.lengths:
            request.send_header("Content-Length", str(len(content)))
        else:
            request.close_connection = True
        request.send_header("Content-Type", "text/html" if name not in self.objects else "video/mp4")
        request.end_headers()
        if request.command == "HEAD":
            return
        if done == "cut":
            content = content[: len(content) // 2]
            request.close_connection = True
        try:
            for piece in range(0, len(content), step := max(1, len(content) // 8 if done == "slow" else len(content))):
                if done == "slow":
                    time.sleep(0.05)
                request.wfile.write(content[piece : piece + step])
                self.sent += len(content[piece : piece + step])
        except (BrokenPipeError, ConnectionResetError):
            pass  # who asked has heard enough

    def _page(self, folder: str) -> bytes:
        """A list of what is in a folder, as web servers show it."""
        below = {name[len(folder) :].partition("/") for name in self.objects if name.startswith(folder)}
        return "".join(f'<a href="{first}{slash}">x</a>\n' for first, slash in sorted(
            {(first, slash) for first, slash, _ in below})).encode()
