# SPDX-License-Identifier: Apache-2.0
"""The command `imageapi`."""

import argparse
import contextlib
import functools
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, TextIO

from oslo_config import cfg
from tqdm import tqdm

from imageapi.asgi.application import THREADS, Application
from imageapi.backends.file import writer as file_writer
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.backends.upload import HashingReader, UploadError
from imageapi.caller import Caller
from imageapi.commands import demo
from imageapi.config import plugins
from imageapi.config.files import ENVIRONMENT_VARIABLE, files_from_environment, load_config
from imageapi.download.locations import DataLocation, UnusableLocation, data_locations_of
from imageapi.errors import (
    BackendError,
    ConfigurationError,
    ImageAPIError,
    LocationRefused,
    bug_in,
    only_backend_errors,
)
from imageapi.image import LONGEST_IMAGE_ID, Image, is_image_id
from imageapi.protocol.image_headers import meta_headers
from imageapi.protocol.value_text import CONTROL, SURROGATE

LOG = logging.getLogger(__name__)

_OPERATOR = Caller(is_admin=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line when None.
    :returns: the exit status: 0, or 1 when something is wrong.
    """
    options = _parser().parse_args(arguments)
    _log_to_stderr(debug=options.debug)
    try:
        return int(options.run(options))
    except ConfigurationError as error:
        for problem in error.problems:
            _complain(problem)
    except ImageAPIError as error:
        _complain(str(error))
    except KeyboardInterrupt:
        _complain("interrupted")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imageapi", description="Serve images over the OpenStack Image API v1."
    )
    parser.add_argument(
        "--config-file",
        metavar="F",
        action="append",
        help=f"a configuration file; may be given again. Without it: {ENVIRONMENT_VARIABLE},"
        " else /etc/imageapi/imageapi.conf and oslo.config's other usual places",
    )
    parser.add_argument("--debug", action="store_true", help="log what imageapi does in detail")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the configuration with gunicorn")
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument("--port", type=_port, default=9292, help="default: %(default)s")
    serve.add_argument("--workers", type=_positive, default=1, help="processes (%(default)s)")
    serve.add_argument(
        "--threads",
        type=_positive,
        default=THREADS,
        help="of each, that read data; a client that reads slowly holds none (%(default)s)",
    )
    serve.set_defaults(run=_serve)

    add = commands.add_parser("add", help="add an image to folders, or to Swift")
    add.add_argument("file", metavar="FILE", help="the data; - for standard input")
    add.add_argument("--id", type=_image_id, help="default: a new UUID")
    add.add_argument("--name", type=_utf8)
    add.add_argument("--disk-format", metavar="F", type=_utf8, help="such as raw or qcow2")
    add.add_argument("--container-format", metavar="F", type=_utf8, help="such as bare or ovf")
    add.add_argument("--min-disk", metavar="G", type=_count, default=0, help="GiB")
    add.add_argument("--min-ram", metavar="M", type=_count, default=0, help="MiB")
    add.add_argument("--private", action="store_true", help="not for everybody, nor its files")
    add.add_argument("--owner", metavar="P", type=_utf8, help="the owning project's id")
    add.add_argument("--property", metavar="K=V", type=_property, action="append", default=[])
    add.set_defaults(run=_add)

    show = commands.add_parser("show", help="show a record and where its data is found")
    show.add_argument("id", metavar="ID", type=_image_id)
    show.set_defaults(run=_show)

    check = commands.add_parser("check", help="ask every configured backend whether it works")
    check.set_defaults(run=_check)

    demonstration = commands.add_parser("demo", help="serve and download a sample image")
    demonstration.set_defaults(run=_demo)
    return parser


def _demo(_options: argparse.Namespace) -> int:
    return demo.run()


def _serve(options: argparse.Namespace) -> int:
    try:
        from imageapi.commands.serve import Server, settings_for
    except ImportError:
        raise ImageAPIError("serve needs gunicorn: pip install 'imageapi[server]'") from None

    def build() -> Application:
        return Application(_load_config(options), threads=options.threads)

    Server(build, settings_for(options.host, options.port, options.workers)).run()
    return 0


def _add(options: argparse.Namespace) -> int:
    with _backends(options) as backends:
        add = _adder(backends)
        image = Image(
            id=options.id or str(uuid.uuid4()),
            status="queued",
            name=options.name,
            disk_format=options.disk_format,
            container_format=options.container_format,
            min_disk=options.min_disk,
            min_ram=options.min_ram,
            is_public=not options.private,
            owner=options.owner,
            properties=dict(options.property),
        )
        for note in meta_headers(image, sys.maxsize).notes:
            _complain(f"warning: {note}")
        with (
            _terminated_like_interrupted(),
            _source(options.file) as source,
            _progress_bar(source) as bar,
        ):
            add(image, HashingReader(source, bar.update))
    print(image.id)
    return 0


def _adder(backends: plugins.Backends) -> Callable[[Image, HashingReader], Image]:
    """What adds images to the configured registry and the first of the stores."""
    registry, store = backends.registry.backend, backends.stores[0].backend
    if isinstance(registry, FileRegistry) and isinstance(store, FileStore):
        return functools.partial(file_writer.add_image, registry, store)
    if backends.registry.driver == backends.stores[0].driver == "swift":
        # Not above: whoever has files need not have keystoneauth1.
        from imageapi.backends.swift import writer

        return writer.adder(registry, store)
    raise ConfigurationError(
        ["add needs the registry and the first of the stores to be both file, or both swift"]
    )


def _show(options: argparse.Namespace) -> int:
    with _backends(options) as backends:
        try:
            with only_backend_errors(backends.registry):
                image = backends.registry.backend.get(options.id, _OPERATOR)
        except BackendError as error:
            _log_bug(error)
            raise ImageAPIError(f"image {options.id}: {backends.registry}: {error}") from None
        for name, value in meta_headers(image, sys.maxsize).lines:
            _tell(f"{name.removeprefix('X-Image-Meta-')}: {value.encode('latin-1').decode()}")
        if image.members:
            _tell(f"Members: {', '.join(sorted(image.members))}")
        found = [
            _show_location(location, image)
            for location in data_locations_of(image, backends.stores)
        ]
    return 0 if any(found) else 1


def _show_location(location: DataLocation | UnusableLocation, image: Image) -> bool:
    """Print where data is; whether it is there and of the right size."""
    url = location.recorded.redacted() if location.recorded else image.id
    where = f"Data: {location}, {url}"
    try:
        if isinstance(location, UnusableLocation):
            raise LocationRefused(location.reason)
        blob = location.open(0, None, None, _OPERATOR)
        size = blob.total_size
        blob.close()
    except BackendError as error:
        _log_bug(error)
        _tell(f"{where}: {error}")
        return False
    fits = size is None or image.size is None or size == image.size
    told = "of unknown size" if size is None else f"{size} bytes"
    _tell(f"{where}: {told}{'' if fits else ', which is not the size in the record'}")
    return fits


def _check(options: argparse.Namespace) -> int:
    status = 0
    with _backends(options) as backends:
        for loaded in backends:
            about = f"{loaded} (driver {loaded.driver!r} of {loaded.distribution})"
            try:
                said = _said_by(loaded)
            except BackendError as error:
                _log_bug(error)
                _tell(f"{about}: {error}")
                status = 1
            else:
                _tell(f"{about}: ok{said and f', {said}'}")
    return status


def _said_by(loaded: plugins.Loaded[Any]) -> str:
    """What a backend says of itself."""
    with only_backend_errors(loaded):
        said: object = loaded.backend.check()
    if isinstance(said, str):
        return said
    raise BackendError(f"check() must return a text, not {type(said).__name__}")


def _log_bug(error: BackendError) -> None:
    """Log the traceback of what a backend should not have raised, for its author."""
    bug = bug_in(error)
    if bug is not None:
        LOG.error("%s", error, exc_info=bug)


@contextlib.contextmanager
def _backends(options: argparse.Namespace) -> Iterator[plugins.Backends]:
    backends = plugins.load(_load_config(options))
    try:
        yield backends
    finally:
        backends.close()


def _load_config(options: argparse.Namespace) -> cfg.ConfigOpts:
    return load_config(options.config_file or files_from_environment())


@contextlib.contextmanager
def _source(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise UploadError(f"{path}: {error.strerror}") from None
        yield file


def _progress_bar(source: BinaryIO) -> Any:
    """A bar on a terminal, and nothing elsewhere."""
    total = None
    with contextlib.suppress(OSError):
        total = os.fstat(source.fileno()).st_size or None
    return tqdm(total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Clean up at SIGTERM and SIGHUP too, but for one that is ignored, as nohup has it."""
    before = [
        (number, signal.signal(number, signal.default_int_handler))
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _log_to_stderr(*, debug: bool) -> None:
    """Log imageapi from INFO on, or all of it; of libraries only warnings and errors.

    Their debug logs print whole URLs and headers, secrets included.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("imageapi").setLevel(logging.DEBUG if debug else logging.INFO)


def _tell(text: str, file: TextIO | None = None) -> None:
    """Print a line, with nothing in it that a terminal would obey or cannot show."""
    file = file or sys.stdout
    line = CONTROL.sub(" ", text).encode(file.encoding or "ascii", "backslashreplace")
    print(line.decode(file.encoding or "ascii"), file=file)


def _complain(text: str) -> None:
    _tell(f"imageapi: {text}", sys.stderr)


def _image_id(text: str) -> str:
    if is_image_id(text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r:.100} cannot be an image id: no slash, no control character, not 'detail',"
        f" at most {LONGEST_IMAGE_ID} bytes of UTF-8"
    )


def _utf8(text: str) -> str:
    """What no record could hold is refused; Python has such bytes as lone surrogates."""
    if SURROGATE.search(text):
        raise argparse.ArgumentTypeError(f"{text!r:.100} is not UTF-8")
    return text


def _property(text: str) -> tuple[str, str]:
    key, equals, value = _utf8(text).partition("=")
    if key and equals:
        return key, value
    raise argparse.ArgumentTypeError(f"{text!r} is not K=V")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")


def _positive(text: str) -> int:
    if _count(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")


def _port(text: str) -> int:
    if 0 < _count(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port")
