# SPDX-License-Identifier: Apache-2.0
"""The options of ``serve``, from its flags and from the section [imageapi_serve]."""

import argparse
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from oslo_config import cfg

from imageapi.config.plugins import Backends
from imageapi.config.serve_options import GROUP, OPTIONS
from imageapi.errors import ConfigurationError

_ADDRESS = re.compile(r"(?:\[[^\]]+\]|[^\[\]:]+):([0-9]{1,5})")


@dataclass(frozen=True)
class ServeSettings:
    """The values of the options, which `imageapi.config.serve_options` describes."""

    bind: Sequence[str]
    workers: int
    threads: int
    connections: int
    certificate: str | None
    private_key: str | None
    log_file: str | None
    access_log: str
    log_format: str
    metrics_bind: str | None
    head_timeout: int
    idle_timeout: int
    stall_timeout: int
    stop_timeout: int
    reload_timeout: int

    @classmethod
    def of(cls, conf: cfg.ConfigOpts, flags: argparse.Namespace) -> Self:
        """Read the settings; a flag wins over the option of its name.

        :raises ConfigurationError: an address, or a file of TLS, cannot be used.
        """
        conf.register_opts(OPTIONS, group=GROUP)
        given = {field.name: getattr(flags, field.name, None) for field in fields(cls)}
        values = {
            name: conf[GROUP][name] if value is None else value for name, value in given.items()
        }
        settings = cls(**values)
        settings._check()
        return settings

    def check_metrics(self, backends: Backends) -> None:
        """Check that there are metrics to serve at ``metrics_bind``.

        :raises ConfigurationError: there are none.
        """
        if self.metrics_bind and not any(one.driver == "prometheus" for one in backends.events):
            problem = "metrics_bind: needs the driver prometheus in [imageapi] events"
            raise ConfigurationError([f"[{GROUP}] {problem}"])

    def _check(self) -> None:
        problems = [_problem_of("bind", address) for address in self.bind]
        problems.append("" if self.bind else f"[{GROUP}] bind: must name an ADDRESS:PORT")
        if self.metrics_bind:
            problem = _problem_of("metrics_bind", self.metrics_bind)
            problems.append(problem or _problem_of_port(self.metrics_bind, self.bind))
        if self.private_key and not self.certificate:
            problems.append(f"[{GROUP}] private_key: set certificate too")
        if self.certificate:
            problems.append(_problem_of_tls(self.certificate, self.private_key))
        for option, path in (("log_file", self.log_file), ("access_log", self.access_log)):
            problems.append(_problem_of_log(option, path))
        found = [problem for problem in problems if problem]
        if found:
            raise ConfigurationError(found)


def _problem_of(option: str, address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if found is not None and 0 < int(found[1]) < 65536:
        return ""
    return (
        f"[{GROUP}] {option}: {address!r:.100} must be ADDRESS:PORT, such as 127.0.0.1:9292 or"
        " [::1]:9292, with a port from 1 to 65535"
    )


def _problem_of_port(metrics_bind: str, bind: Sequence[str]) -> str:
    """Refuse a port that has images at another address: it would be without TLS."""
    port = metrics_bind.rpartition(":")[2]
    if port not in [address.rpartition(":")[2] for address in bind]:
        return ""
    return f"[{GROUP}] metrics_bind: {metrics_bind!r:.100} must have another port than bind"


def _problem_of_log(option: str, path: str | None) -> str:
    folder = os.path.dirname(os.path.abspath(path or "-"))
    if path in (None, "", "-") or os.path.isdir(folder):
        return ""
    return f"[{GROUP}] {option}: {path} cannot be written: create the folder {folder}"


def _problem_of_tls(certificate: str, private_key: str | None) -> str:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, private_key, password="")  # nosec B106
    except ssl.SSLError:
        where = private_key or certificate
        return (
            f"[{GROUP}] certificate: {certificate} must be a PEM file with a certificate, its chain"
            f" and, unless private_key is set, its key, unencrypted; the key in {where} must fit it"
        )
    except OSError as error:
        files = " or ".join(filter(None, (certificate, private_key)))
        return f"[{GROUP}] certificate: {files} cannot be read: {error.strerror}"
    return ""
