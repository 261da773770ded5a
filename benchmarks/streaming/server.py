"""A store that speaks as much of S3 as readers need, and answers each request after a given time.

    python -m benchmarks.streaming.server FOLDER --latency 20

Objects are the files of FOLDER: FOLDER/bucket/key. `GET /-/counts` says how many requests and bytes there were, and
begins to count again. It is a process of its own, with one thread, so that its work is not that of the reader measured.
"""

import argparse
import asyncio
import hashlib
import json
from email.utils import formatdate
from pathlib import Path
from xml.sax.saxutils import escape

from aiohttp import web

counts = {"requests": 0, "gets": 0, "bytes": 0}


def serve(folder: Path, latency: float, port: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/-/counts":
            told = json.dumps(counts)
            counts.update(dict.fromkeys(counts, 0))
            return web.Response(text=told)
        counts["requests"] += 1
        counts["gets"] += request.method == "GET"
        await asyncio.sleep(latency)
        path = (folder / request.path.lstrip("/")).resolve()
        if request.method == "GET" and ("list-type" in request.query or path.is_dir()):
            return listing(path, request.query.get("prefix", ""))
        if not path.is_relative_to(folder) or not path.is_file():
            return web.Response(status=404)
        status = path.stat()
        tag = '"' + hashlib.md5(f"{path} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest() + '"'
        if request.headers.get("If-Match", tag) != tag:
            return web.Response(status=412)
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "Last-Modified": formatdate(status.st_mtime, usegmt=True),
                   "Content-Type": "binary/octet-stream"}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(status.st_size)})
        part = request.http_range
        begin, end = part.start or 0, min(part.stop or status.st_size, status.st_size)
        with open(path, "rb") as file:
            file.seek(begin)
            data = file.read(end - begin)
        counts["bytes"] += len(data)
        if part.start is None:
            return web.Response(body=data, headers=headers)
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{status.st_size}"
        return web.Response(status=206, body=data, headers=headers)

    def listing(bucket: Path, prefix: str) -> web.Response:
        keys = [path for path in sorted(bucket.rglob("*")) if path.is_file()
                and path.relative_to(bucket).as_posix().startswith(prefix)]
        rows = "".join(f"<Contents><Key>{escape(path.relative_to(bucket).as_posix())}</Key>"
                       f"<Size>{path.stat().st_size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                       "</Contents>" for path in keys)
        return web.Response(content_type="application/xml", text=(
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>false</IsTruncated><KeyCount>{len(keys)}</KeyCount>{rows}</ListBucketResult>"))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=lambda name: Path(name).resolve())
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds before each answer")
    parser.add_argument("--port", type=int, default=9123)
    args = parser.parse_args()
    serve(args.folder, args.latency / 1000, args.port)
