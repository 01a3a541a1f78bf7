# SPDX-License-Identifier: Apache-2.0
"""A large image on an nginx: through imageapi, straight, and through an nginx as proxy."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.processes import PeakMemory, cpu_seconds
from benchmarks.workplace import LARGE_ID, Workplace

_OURS = "imageapi"
_NGINX = "straight"
_PROXY = "nginx as proxy"

_AT_ONCE = 8
_CHUNK = 1024 * 1024

_FAST_ENOUGH = Aim(">=", 0.85)
_LITTLE_ENOUGH = Aim("<=", 4.0)

_STRAIGHT = f"/{LARGE_ID}"
_THROUGH = f"/v1/images/{LARGE_ID}"

_CONFIG = """\
[imageapi]
stores = http
[imageapi_registry_file]
directory = {registry}
[imageapi_store_http]
allowed_urls = http://127.0.0.1:{port}
url_template = http://127.0.0.1:{port}/{{image_id}}
"""


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures: while imageapi verifies the data, and once it knows it to be right."""
    images, folder = workplace.large.images, _folder(workplace)
    with ExitStack() as stack:
        nginx = stack.enter_context(servers.nginx(images, folder))
        proxy = stack.enter_context(servers.nginx(images, folder, upstream=nginx.port))
        config = _configure(workplace, nginx.port)
        ours = stack.enter_context(servers.imageapi(servers.GUNICORN, config))
        sides = {_OURS: ours, _NGINX: nginx, _PROXY: proxy}
        yield from _figures("first", sides, effort, workplace.renew_large)
        workplace.settle()
        load.download(ours.port, _THROUGH, effort.size)
        yield from _figures("verified", sides, effort, lambda: None)
        yield from _memory(ours, effort)


def _folder(workplace: Workplace) -> Path:
    folder = workplace.folder / "proxied"
    folder.mkdir()
    return folder


def _configure(workplace: Workplace, port: int) -> Path:
    config = workplace.folder / "proxied" / "imageapi.conf"
    config.write_text(_CONFIG.format(registry=workplace.large.registry, port=port))
    return config


def _figures(
    which: str,
    sides: Mapping[str, servers.Served],
    effort: Effort,
    before_round: Callable[[], None],
) -> Iterator[Figure]:
    speed: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    for _ in range(effort.rounds):
        before_round()
        for name, server in sides.items():
            path = _THROUGH if name == _OURS else _STRAIGHT
            before = cpu_seconds(server.pid)
            seconds = load.download(server.port, path, effort.size)
            cpu[name].append((cpu_seconds(server.pid) - before) * 1024 / effort.size_mib)
            speed[name].append(effort.size_mib / seconds)
    for other, aim in ((_NGINX, _FAST_ENOUGH), (_PROXY, None)):
        yield Figure(
            name=f"gunicorn, {which} download",
            unit="MiB/s",
            ours=speed[_OURS],
            theirs=speed[other],
            against=other,
            aim=aim,
        )
        yield Figure(
            name=f"gunicorn, {which} download",
            unit="server CPU s/GiB",
            ours=cpu[_OURS],
            theirs=cpu[other],
            against=other,
        )


def _memory(ours: servers.Served, effort: Effort) -> Iterator[Figure]:
    for count in (1, _AT_ONCE):
        peak = PeakMemory(ours.pid)
        load.download_together(ours.port, _THROUGH, effort.size, count)
        yield Figure(
            name=f"gunicorn, peak growth, {count} at once",
            unit="chunks each",
            ours=[peak.growth() / _CHUNK / count],
            judged=Judged.ITSELF,
            aim=_LITTLE_ENOUGH,
        )
