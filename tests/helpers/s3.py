"""S3 on this machine, as moto serves it, with failures as told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from eruv_dali.video import remote_store


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Any]:
    """An empty S3, which the environment names; remote objects are kept in `cache`.

    Gives boto3's client, with a list `mischief`: the last of it is called with method, path and range of each request,
    and may return a status, such as "503 Slow Down", in place of moto's answer.
    """
    server_of = pytest.importorskip("moto.server", reason="no moto[server]; pip install 'moto[server]'")
    s3fs = pytest.importorskip("s3fs", reason="no s3fs; pip install s3fs")
    import boto3
    from werkzeug.serving import make_server

    moto = server_of.DomainDispatcherApplication(server_of.create_backend_app)
    mischief: list[Callable[[str, str, str], str | None]] = []

    def answer(environ, start):
        asked = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_RANGE", "")
        status = mischief[-1](*asked) if mischief else None
        if status:
            start(status, [("Content-Length", "0")])
            return [b""]
        return moto(environ, start)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    for name, value in {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
                        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                        "ERUV_REMOTE_CACHE": str(cache)}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # of another test's server
    remote_store._store.cache_clear()
    client = boto3.client("s3")
    urlopen(Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")).close()  # all servers share their state
    client.mischief = mischief
    try:
        yield client
    finally:
        server.shutdown()
        remote_store._store.cache_clear()
