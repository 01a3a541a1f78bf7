# SPDX-License-Identifier: Apache-2.0
"""``imageapi serve`` over a real socket."""

import hashlib
import os

from tests.deployment import Deployment
from tests.functional.servers import connection, serving

DATA = os.urandom(3_000_000)


def test_a_client_downloads_an_image(deployment: Deployment) -> None:
    deployment.add("an-image", DATA, name="Ubuntu 10.04", properties={"distro": "Ubuntu"})
    with serving(deployment.config_file) as port, connection(port) as client:
        client.request("GET", "/v1/images/an-image")
        response = client.getresponse()
        assert response.status == 200
        assert response.read() == DATA
        assert response.getheader("Etag") == hashlib.md5(DATA).hexdigest()
        assert response.getheader("X-Image-Meta-Property-Distro") == "Ubuntu"
