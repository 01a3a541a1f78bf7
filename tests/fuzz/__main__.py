# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.fuzz TARGET [ARGUMENT]...``: atheris looks for inputs that break a property.

The arguments are libFuzzer's, such as ``-max_total_time=300`` and the folder of
a corpus.  It ends with status 0 when the time is up and nothing was found.
"""

import functools
import importlib.metadata
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["imageapi", "webob", "oslo_policy", "http.client"]):
    from imageapi.backends.file.store import FileStore
    from imageapi.backends.s3 import client as s3_client
    from tests.fuzz import properties

Target = Callable[[atheris.FuzzedDataProvider], None]

_TEXTS = {
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_RANGE",
    "HTTP_IF_RANGE",
    "HTTP_ACCEPT",
    "HTTP_HOST",
    "HTTP_X_AUTH_TOKEN",
}


# Valid inputs, which atheris changes.
_SEEDS: Mapping[str, Sequence[str]] = {
    "record": [
        (
            '{"images": [{"id": "i", "name": "n", "status": "active", "is_public": true, "size": 4,'
            ' "checksum": "9e107d9d372bb6826bd81d3542a419d6", "created_at": "2010-02-03 09:34:01",'
            ' "properties": {"a": [1.5, {"b": null}]}, "members": ["p"], "owner": "p"}]}'
        ),
        (
            '{"visibility": "shared", "status": "queued", "os_hash_algo": "sha256", "min_ram": 1,'
            ' "os_hash_value": "00ff", "updated_at": "2023-05-30T17:44:50+01:00", "p": true,'
            ' "locations": [{"url": "swift://c/o", "metadata": {"store": "s"}}], "deleted": false}'
        ),
    ],
    "location": [
        "file:///a/b%20c/..",
        "https://images.example.com:8443/a/%7Eb?signature=x#y",
        "http://[::1]/x",
        "swift+https://user:password@host/v1/container/object",
        "//user@host/../x",
    ],
    "configuration": [
        (
            "[imageapi]\nregistry = r:file\nstores = file, http\npolicy = visible\nchunk_size = 5\n"
            "public_endpoint = https://x/y\n[imageapi_registry_r]\ndirectory = {folder}\n"
            "[imageapi_store_http]\nallowed_urls = https://x/a, http://y\n"
            "url_template = http://y/{image_id}\nread_timeout = 3\nproxy = http://u:p@z:1\n"
        ),
        (
            "[imageapi]\nregistry = swift\nstores = swift\n[imageapi_registry_swift]\ncontainer=c\n"
            "auth_section = s\n[imageapi_store_swift]\ncontainer = c\nauth_section = s\n[s]\n"
            "auth_type = v1password\nauth_url = http://x\nusername = u\npassword = p\n"
        ),
    ],
    "rules": [
        '"get_image": "role:a and (not is_admin:True or project_id:%(owner)s)"\n"x": "rule:x"',
        '{"download_image": "\'yes\':%(p)s or @ or !"}',
    ],
    # atheris takes the choices from the end of the input.
    "upstream": [
        'HTTP/1.1 206 Part\r\nContent-Range: bytes 0-3/4\r\nETag: "e"\r\n\r\ndata\x00',
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\ndata\r\n0\r\n\r\n\x00",
        "HTTP/1.1 302 Found\r\nLocation: /data/x\r\nContent-Length: 0\r\n\r\n\x00",
        "HTTP/1.1 503 No\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n\x00\x01",
        '{"status": "active", "is_public": true, "size": 4}\x01\x01',
    ],
    "s3": [
        'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 4\r\n\r\ndata',
        "HTTP/1.1 404 No\r\n\r\n<Error><Code>NoSuchKey</Code></Error>",
        (
            "HTTP/1.1 403 No\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n"
            "<Error><Code>RequestTimeTooSkewed</Code></Error>"
        ),
        "HTTP/1.1 416 No\r\n\r\n<Error><ActualObjectSize>4</ActualObjectSize></Error>",
    ],
    "rows": [
        (
            '{"fields": {"id": "i", "status": "active", "visibility": "shared", "deleted": 0,'
            ' "protected": 1, "size": 4, "created_at": "2026-01-01 00:00:00", "owner": "p"},'
            ' "properties": [["a", "b"]], "members": ["p"],'
            ' "locations": [["file:///i", "{\\"store\\": \\"s\\"}", "1"]]}'
        ),
    ],
    "list": [
        "name=a&status=active&property-k=v&size_min=1&size_max=9&limit=2&marker=whole",
        "changes-since=2010-01-01T00:00:00Z&sort_key=size&sort_dir=asc&is_public=none&protected=1",
    ],
    "listed": [
        '{"images": [{"id": "i", "status": "active", "is_public": true, "size": 4}]}\x00',
        '{"images": [{"id": "i", "status": "queued", "visibility": "public"}], "next": "/v2"}\x01',
    ],
}


_RECORD = b'{"status": "active", "is_public": true, "size": 4}'
_GOOD_RECORD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_RECORD), _RECORD)


def _text(given: atheris.FuzzedDataProvider, longest: int = 200) -> str:
    return str(given.ConsumeBytes(given.ConsumeIntInRange(0, longest)).decode("latin-1"))


def _perhaps(given: atheris.FuzzedDataProvider) -> str | None:
    return _text(given) if given.ConsumeBool() else None


def _rest(given: atheris.FuzzedDataProvider) -> bytes:
    return bytes(given.ConsumeBytes(given.remaining_bytes()))


def _targets(folder: Path) -> Mapping[str, Target]:
    site = properties.Site(folder / "site")
    files = site.api.backends.stores[0].backend
    upstreams = properties.Upstreams(folder)
    assert isinstance(files, FileStore)
    store = files

    def conditions(given: atheris.FuzzedDataProvider) -> None:
        properties.conditions(_perhaps(given), _perhaps(given), _perhaps(given), _perhaps(given))

    s3 = properties.Upstreams(folder, "s3")
    # Otherwise most of the time would pass in the pauses before a retry.
    s3_client._RETRIES = 0
    lists = [properties.Upstreams(folder, f"{version} lists") for version in ("v1", "v2")]

    def listed(given: atheris.FuzzedDataProvider) -> None:
        upstream = given.PickValueInList(lists)
        body = _rest(given)
        path = "/v1/images/detail?limit=5"
        upstream.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, b"", path)

    def request(given: atheris.FuzzedDataProvider) -> None:
        method = given.PickValueInList(["GET", "HEAD", "POST", _text(given, 10)])
        ids = [*site.healthy, "wrong", "short", "outside", "malformed", _text(given)]
        image_id = given.PickValueInList(ids).encode().decode("latin-1")
        path = given.PickValueInList([f"/v1/images/{image_id}", _text(given)])
        query = given.PickValueInList(["", "format=json", _text(given)])
        headers = {name: _text(given) for name in sorted(_TEXTS) if given.ConsumeBool()}
        site.ask(method, path, query, headers)

    def upstream(given: atheris.FuzzedDataProvider) -> None:
        head, registry = b"HTTP/1.1 200 OK\r\nContent-Length: ", _GOOD_RECORD
        if given.ConsumeBool():
            said = _rest(given)
            registry = given.PickValueInList([said, head + b"%d\r\n\r\n%s" % (len(said), said)])
        upstreams.say(registry, _rest(given))

    return {
        "conditions": conditions,
        "record": lambda given: properties.record(_rest(given)),
        "location": lambda given: properties.location(
            _rest(given).decode("utf-8", "replace"), store
        ),
        "configuration": lambda given: properties.configuration(
            folder, _rest(given).decode("utf-8", "replace")
        ),
        "rules": lambda given: properties.rules(folder, _rest(given).decode("utf-8", "replace")),
        "request": request,
        "upstream": upstream,
        "s3": lambda given: s3.say(_GOOD_RECORD, _rest(given)),
        "list": lambda given: site.list(
            _rest(given).decode("latin-1"), is_admin=given.ConsumeBool()
        ),
        "listed": listed,
        "rows": lambda given: properties.database_rows(_rest(given)),
    }


def main() -> None:
    """Fuzz the target that the command line names."""
    # Nothing goes to standard error. The properties find logged bugs themselves.
    logging.getLogger().addHandler(logging.NullHandler())
    # Otherwise the system's certificates are read each time.
    os.environ["SSL_CERT_FILE"] = os.devnull
    # The installed plugins do not change meanwhile, and looking for them takes most of the time.
    importlib.metadata.entry_points = functools.cache(  # type: ignore[assignment]  # a stand-in
        importlib.metadata.entry_points
    )
    with tempfile.TemporaryDirectory(prefix="imageapi-fuzz-") as folder:
        targets = _targets(Path(folder))
        name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
        if name not in targets:
            sys.exit(f"usage: python -m tests.fuzz {{{','.join(targets)}}} [libFuzzer's arguments]")
        target = targets[name]
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for number, seed in enumerate(_SEEDS.get(name, ())):
            (seeds / str(number)).write_bytes(seed.encode("latin-1"))
        # New inputs go into the first folder of a corpus; this one is read only once.
        # If the arguments are files, only these are run.
        is_replay = any(Path(argument).is_file() for argument in sys.argv[1:])
        arguments = sys.argv if is_replay else [*sys.argv, str(seeds)]
        atheris.Setup(arguments, lambda data: target(atheris.FuzzedDataProvider(data)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
