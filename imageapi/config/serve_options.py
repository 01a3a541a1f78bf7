# SPDX-License-Identifier: Apache-2.0
"""The options of ``imageapi serve``.  Its flags of the same names win."""

from oslo_config import cfg

GROUP = "imageapi_serve"

_DAY = 86400

OPTIONS = (
    cfg.ListOpt(
        "bind",
        default=["127.0.0.1:9292"],
        help="The addresses to listen on, each ADDRESS:PORT. An IPv6 address is in brackets, as in"
        " [::1]:9292.",
    ),
    cfg.IntOpt("workers", default=1, min=1, help="The number of processes."),
    cfg.IntOpt(
        "threads",
        default=32,
        min=1,
        help="The number of threads of each process that read data. A slow client occupies none.",
    ),
    cfg.IntOpt(
        "connections",
        default=4000,
        min=1,
        help="Maximum number of connections of each process. If the limit of open files allows"
        " fewer, a warning is logged. Above it, an idle connection is closed, or a new one gets"
        " 503 with Retry-After.",
    ),
    cfg.StrOpt(
        "certificate",
        help="PEM file of the server's certificate and its chain. If set, clients must use TLS."
        " It is read again at SIGHUP.",
    ),
    cfg.StrOpt("private_key", help="PEM file of its private key, if not in certificate."),
    cfg.StrOpt(
        "log_file",
        help="The file of the log. If unset, the log goes to standard error. If the file is"
        " renamed, a new one is created.",
    ),
    cfg.StrOpt(
        "access_log",
        default="-",
        help="The file of the access log, with a line for each request; - for standard output;"
        " empty for none. If the file is renamed, a new one is created.",
    ),
    cfg.StrOpt(
        "log_format",
        default="text",
        choices=[("text", "Lines to read."), ("json", "A JSON object in each line.")],
        help="The format of both logs.",
    ),
    cfg.StrOpt(
        "metrics_bind",
        help="A separate ADDRESS:PORT for GET /metrics, in Prometheus' text format. Needs the"
        " driver prometheus in the option events. If unset, metrics are not served.",
    ),
    cfg.IntOpt(
        "head_timeout",
        default=20,
        min=1,
        max=_DAY,
        help="How many seconds a client may take to send the headers of its first request.",
    ),
    cfg.IntOpt(
        "idle_timeout",
        default=2,
        min=1,
        max=_DAY,
        help="How many seconds a connection stays open after an answer, for the next request.",
    ),
    cfg.IntOpt(
        "stall_timeout",
        default=300,
        min=1,
        max=_DAY,
        help="After how many seconds a download ends whose client accepts no data.",
    ),
    cfg.IntOpt(
        "stop_timeout",
        default=30,
        min=1,
        max=_DAY,
        help="How many seconds downloads may continue after SIGTERM.",
    ),
    cfg.IntOpt(
        "reload_timeout",
        default=6 * 60 * 60,
        min=1,
        max=7 * _DAY,
        help="How many seconds downloads may continue in the old processes after SIGHUP.",
    ),
)
