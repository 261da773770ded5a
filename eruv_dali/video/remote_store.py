"""Objects in stores that fsspec knows, by URL (s3, gs, http and others): their size and version, and ranges of bytes.

A request that fails is tried again, unless trying cannot help. Every range is of one version of the object: the server
is asked for that version where it can tell (S3, HTTP with an ETag), and of the others the version is asked for again
while they are read.
"""

import errno
import functools
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

TRIES, FIRST_WAIT, LONGEST_WAIT = 4, 0.25, 8.0  # each wait is four times the one before
PATIENT = 6  # tries, in place of TRIES
CONNECT, SILENCE = 10.0, 20.0  # seconds for a connection, and without a byte; less than prepare's time limit in all
FAILED_FOR = 30.0  # seconds for which an object that could not be reached is not asked for again
FAILURES = 3  # in a row, before that holds for an object of which other parts are wanted too
LOOK_EVERY = 2.0  # seconds after which an object that is being read is asked for its version again
OPEN_OBJECTS = 1 << 10  # of which files are kept for further requests, as many as threads have read one at a time
CONNECTIONS = 64  # to one store at a time
# By the names of fsspec's file systems, the best first: what is another one once an object has been written anew.
VERSIONS = ("ETag", "etag", "generation", "md5Hash", "Content-MD5", "content_md5", "Digest", "LastModified",
            "Last-Modified", "last_modified", "mtime", "modified", "created")
HTTP = ("http", "https")
S3 = ("s3", "s3a")  # whose servers never send another version than the one asked for


class OutOfReach(OSError):
    """An object cannot be read, which may be otherwise the next time; `strerror` says why, `filename` is its URL.

    Attributes:
        gone: the store was reached, and has no such object.
    """

    def __init__(self, url: str, why: str, gone: bool = False) -> None:
        super().__init__(errno.EIO, why, url)
        self.gone = gone

    def __reduce__(self):
        return OutOfReach, (self.filename, self.strerror, self.gone)


class ObjectStatus(NamedTuple):
    """Bytes of an object; its version, "" where the store tells none."""

    size: int
    version: str


_known: dict[str, ObjectStatus] = {}
_looked: dict[str, float] = {}  # when each was last asked for
_failed: dict[str, tuple[float, OutOfReach]] = {}  # when and why
_in_a_row: dict[str, int] = {}  # of patient requests, how many failed since one succeeded
_changed: set[str] = set()  # while they were read
_idle: "OrderedDict[tuple[str, ObjectStatus], list[Any]]" = OrderedDict()  # files that no thread reads at the moment
_idle_lock = threading.Lock()


def status(url: str, *, again: bool = False) -> ObjectStatus:
    """The status of an object when this process first asked for it; `again`: now, and from now on.

    Raises:
        OutOfReach: there is no such object, it cannot be reached, or (not `again`) it has changed since.
    """
    if again or url not in _known:
        _changed.discard(url)
        _known.pop(url, None)
        if again:
            _failed.pop(url, None)
        _known[url] = _ask(url)
    if url in _changed:
        raise OutOfReach(url, "has changed while it was read; run again")
    return _known[url]


def looked(url: str) -> float:
    """When this process last asked for an object, by time.monotonic."""
    return _looked.get(url, -math.inf)


def listing(url: str) -> dict[str, str]:
    """The objects below a URL: for each its name there, and its URL.

    Raises:
        OutOfReach: the store cannot be reached, or refuses.
    """
    store, path = _store(url)
    if urlsplit(url).scheme in HTTP:
        return {its_url[len(url) :].strip("/"): its_url for its_url in _links_below(store, url, url, set())}
    objects = {}
    for path_there, info in _tried(url, lambda: store.find(path, detail=True)).items():
        name, its_url = path_there[len(path) :].strip("/"), store.unstrip_protocol(path_there)
        objects[name or path_there.rpartition("/")[2]] = its_url
        if (told := _status(info)) is not None and told.version:
            _known[its_url], _looked[its_url] = told, time.monotonic()
            _changed.discard(its_url)
            _failed.pop(its_url, None)
    return objects


def _links_below(store: Any, top: str, folder: str, seen: set[str]) -> Iterator[str]:
    """The files that a web server's pages of folders show. (fsspec's own search leaves out what it fails to read.)"""
    if folder in seen:
        return
    seen.add(folder)
    for entry in sorted(_tried(top, lambda: store.ls(folder, detail=True)), key=lambda entry: entry["name"]):
        its_url = entry["name"]
        if not its_url.startswith(top):
            continue
        if entry["type"] == "directory":
            yield from _links_below(store, top, its_url, seen)
        else:
            yield its_url


def fetch(url: str, known: ObjectStatus, begin: int, end: int, *, patient: bool = False) -> bytes:
    """Bytes `begin` to `end` of this version of an object, from the store.

    Args:
        patient: more tries; and one request that failed all of them does not mean that the next ones will.

    Raises:
        OutOfReach: they cannot be had, or the object is another one now.
    """
    def once() -> bytes:
        file = _file(url, known)
        file.seek(begin)
        data = file.read(end - begin)
        if len(data) != end - begin:
            raise OSError(f"gave {len(data):,} of {end - begin:,} bytes")
        _keep(url, known, file)  # one that failed is not used again
        return data

    data = _tried(url, once, patient)
    asked_for = urlsplit(url).scheme in S3
    if not asked_for and time.monotonic() - looked(url) > LOOK_EVERY and _ask(url) != known:
        raise _has_changed(url)
    return data


def _ask(url: str) -> ObjectStatus:
    store, path = _store(url)
    found = _status(_tried(url, lambda: store.info(path)))
    _looked[url] = time.monotonic()
    if found is None:
        raise OutOfReach(url, "its size is not told by the server, so that parts of it cannot be read; download it")
    return found


def _status(info: dict[str, Any]) -> ObjectStatus | None:
    if info.get("size") is None:
        return None
    return ObjectStatus(int(info["size"]), next((str(info[key]) for key in VERSIONS if info.get(key)), ""))


def _keep(url: str, known: ObjectStatus, file: Any) -> None:
    """Keep a file for the next request: to open one costs a request of its own in some stores."""
    with _idle_lock:
        _idle.setdefault((url, known), []).append(file)
        _idle.move_to_end((url, known))
        while len(_idle) > OPEN_OBJECTS:
            _idle.popitem(last=False)


def _file(url: str, known: ObjectStatus) -> Any:
    """fsspec's file of this version, without a cache of its own: each read is one request."""
    with _idle_lock:
        if files := _idle.get((url, known)):
            return files.pop()
    store, path = _store(url)
    if urlsplit(url).scheme in HTTP:
        headers = {**store.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
        if known.version.startswith('"'):  # a strong ETag: the server refuses if it has another one now
            headers["If-Match"] = known.version
        file = store.open(path, "rb", cache_type="none", size=known.size, headers=headers)
    else:
        file = store.open(path, "rb", cache_type="none")
        told = _status(getattr(file, "details", None) or {})
        if told is not None and told != known:
            raise _has_changed(url)
    return file


def _has_changed(url: str) -> OutOfReach:
    _changed.add(url)
    return OutOfReach(url, "has changed while it was read; run again")


@functools.lru_cache(maxsize=1 << 12)
def _store(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it."""
    scheme = urlsplit(url).scheme
    try:
        import fsspec
    except ImportError:
        raise OutOfReach(url, "needs fsspec; pip install 'eruv_dali[remote]'") from None
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in HTTP:
        try:
            from aiohttp import ClientTimeout
        except ImportError:
            raise OutOfReach(url, "needs aiohttp; pip install 'eruv_dali[remote]'") from None
        options["client_kwargs"] = {"timeout": ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)}
    elif scheme in S3:
        options["config_kwargs"] = {"connect_timeout": CONNECT, "read_timeout": SILENCE, "retries": {"max_attempts": 0},
                                    "max_pool_connections": CONNECTIONS}
    try:
        # What the user configures for fsspec comes before this.
        store, path = fsspec.core.url_to_fs(url, **{**options, **fsspec.config.conf.get(scheme, {})})
        if hasattr(store, "retries"):
            store.retries = 1  # of s3fs, whose tries would multiply with those here
        return store, path
    except (ImportError, ValueError, OSError) as error:
        raise OutOfReach(url, _words(error)) from None


def _tried(url: str, ask: Callable[[], T], patient: bool = False) -> T:
    """What `ask` returns, after some tries."""
    failed = _failed.get(url)
    if failed and time.monotonic() - failed[0] < FAILED_FOR:
        raise failed[1]
    wait, tries = FIRST_WAIT, PATIENT if patient else TRIES
    for number in range(tries):
        try:
            result = ask()
            _in_a_row.pop(url, None)
            return result
        except OutOfReach:
            raise
        except Exception as error:
            why, hopeless = _why(url, error)
            if hopeless:
                _failed[url] = time.monotonic(), hopeless
                raise hopeless from None
        if number < tries - 1:
            time.sleep(wait)
            wait = min(4 * wait, LONGEST_WAIT)
    failure = OutOfReach(url, f"cannot be read ({why}; tried {tries} times)")
    _in_a_row[url] = _in_a_row.get(url, 0) + 1
    if not patient or _in_a_row[url] >= FAILURES:
        _failed[url] = time.monotonic(), failure
    raise failure


def _why(url: str, error: Exception) -> tuple[str, OutOfReach | None]:
    """The reason in words; and the error if another try cannot help."""
    # fsspec's HTTP calls any trouble "not found", and S3's errors are made of those of its client.
    inner = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    code = getattr(inner, "status", None)
    for cause in (inner, inner.__cause__):
        if code is None and isinstance(response := getattr(cause, "response", None), dict):
            code = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    words = _words(inner)
    if code == 412 or type(inner).__name__ == "FileExpired":
        return words, _has_changed(url)
    if code in (401, 403) or isinstance(inner, PermissionError):
        return words, OutOfReach(url, f"access is refused ({words}); check the credentials")
    if code == 404 or isinstance(inner, FileNotFoundError):
        return words, OutOfReach(url, "there is no such object", gone=True)
    if isinstance(inner, ValueError) and "range requests" in str(inner):
        return words, OutOfReach(url, "the server refuses to send parts of it; download it")
    if "Credentials" in type(inner).__name__:
        return words, OutOfReach(url, f"no credentials ({words})")
    if isinstance(inner, ImportError) or code is not None and 400 <= code < 500 and code not in (408, 425, 429):
        return words, OutOfReach(url, f"cannot be read ({words})")
    return words, None


def _words(error: BaseException) -> str:
    code, message = getattr(error, "status", None), getattr(error, "message", None)
    if code and message is not None:
        return f"HTTP {code} {message}".strip()
    return " ".join(str(error).split())[:200] or type(error).__name__
