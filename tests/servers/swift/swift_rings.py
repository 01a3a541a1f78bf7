# SPDX-License-Identifier: Apache-2.0
"""Makes the rings of a Swift of one device; run by the Python of Swift's own environment."""

import sys

from swift.common.ring import RingBuilder


def main(folder: str, *ports: str) -> None:
    """Write ``<kind>.ring.gz``; the ports are those of account, container and object server."""
    for kind, port in zip(("account", "container", "object"), ports, strict=True):
        builder = RingBuilder(4, 1, 0)
        builder.add_dev(
            {
                "id": 0,
                "region": 1,
                "zone": 1,
                "ip": "127.0.0.1",
                "port": int(port),
                "replication_ip": "127.0.0.1",
                "replication_port": int(port),
                "device": "d1",
                "weight": 1.0,
                "meta": "",
            }
        )
        builder.rebalance(seed=1)
        builder.get_ring().save(f"{folder}/{kind}.ring.gz")


main(*sys.argv[1:])
