# SPDX-License-Identifier: Apache-2.0
"""How many bytes a listening port has sent, as Linux counts them for each connection."""

import socket
import struct
from collections.abc import Iterator, Mapping

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_AND_DUMP = 0x301
_DONE = 3
_TCP_INFO = 2
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_COOKIE_IN_MESSAGE = 44
_MESSAGE_SIZE = 72
_ATTRIBUTE = struct.Struct("=HH")
_BYTES_ACKED = 120  # in struct tcp_info

# All states (net/tcp_states.h) but LISTEN (10): a closed connection may still send.
_STATES = 0xFFF & ~(1 << 10)


class SentBytes:
    """The bytes that a port's connections have sent since this was made.

    What a connection sends between the last call and its end is not seen.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._before = _acknowledged(port)
        self._seen: dict[bytes, int] = dict(self._before)

    def total(self) -> int:
        """Bytes that have arrived, with headers."""
        self._seen.update(_acknowledged(self._port))
        return sum(self._seen.values()) - sum(self._before.values())


def _acknowledged(port: int) -> Mapping[bytes, int]:
    """The bytes that the other end has acknowledged, by the kernel's cookie of a connection."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
        body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), 0, _STATES)
        body += _PORTS.pack(port, 0) + bytes(36) + b"\xff" * 8
        length = _HEADER.size + len(body)
        sock.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_AND_DUMP, 1, 0) + body)
        found: dict[bytes, int] = {}
        while True:
            for kind, message in _messages(sock.recv(65536)):
                if kind == _DONE:
                    return found
                if kind != _SOCK_DIAG_BY_FAMILY:
                    raise RuntimeError("the kernel does not tell of its connections")
                # The kernel ignores the port of the request in a dump of old kernels.
                if _PORTS.unpack_from(message, 4)[0] == port:
                    cookie = message[_COOKIE_IN_MESSAGE : _COOKIE_IN_MESSAGE + 8]
                    found[cookie] = _bytes_acked(message)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _bytes_acked(message: bytes) -> int:
    attributes = message[_MESSAGE_SIZE:]
    while attributes:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == _TCP_INFO:
            (count,) = struct.unpack_from("=Q", attributes, _ATTRIBUTE.size + _BYTES_ACKED)
            return int(count)
        attributes = attributes[(length + 3) & ~3 :]
    return 0
