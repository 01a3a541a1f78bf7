# SPDX-License-Identifier: Apache-2.0
"""A real Glance puts images into Ceph and S3, and imageapi reads them by Glance's database."""

import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import imageapi
from tests.deployment import get
from tests.functional.ceph import BINDINGS, USER, needs_ceph, running_ceph
from tests.functional.database_glance import DatabaseGlance, glance_over
from tests.functional.s3 import ACCESS_KEY, s3_options
from tests.functional.swift import KEY, Swift

pytestmark = [needs_ceph, pytest.mark.timeout(300)]

# More than one chunk of Glance in Ceph.
DATA = random.Random(1).randbytes(9 * 1024 * 1024 + 1)

CONFIG = """\
[imageapi]
registry = sql
stores = ceph:rbd, objects:s3
[imageapi_registry_sql]
connection = sqlite:///{folder}/glance.db
[imageapi_store_ceph]
ceph_conf = {ceph_conf}
user = {user}
pool = {pool}
[imageapi_store_objects]
bucket = glance
{s3}
"""


@pytest.fixture(scope="module")
def glance_and_config(
    swift: Swift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DatabaseGlance, Path]]:
    """A Glance with stores in Ceph and S3, and a configuration over its database and stores."""
    folder = tmp_path_factory.mktemp("glance")
    with running_ceph(tmp_path_factory.mktemp("ceph")) as ceph, closing(swift.client()) as client:
        client.put_container("glance")
        pool = ceph.new_pool()
        in_ceph: dict[str, object] = {"rbd_store_ceph_conf": ceph.config, "rbd_store_user": "admin"}
        in_s3: dict[str, object] = {"s3_store_host": swift.url, "s3_store_bucket": "glance"}
        in_s3 |= {"s3_store_access_key": ACCESS_KEY, "s3_store_secret_key": KEY}
        stores = {
            "ceph": ("rbd", {**in_ceph, "rbd_store_pool": pool}),
            "objects": ("s3", {**in_s3, "s3_store_bucket_url_format": "path"}),
        }
        # Swift's S3 does not know boto3's checksums after the data.
        checksums = "--env=AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
        options = [f"--pythonpath={BINDINGS}", checksums]
        with glance_over(folder, f"sqlite:///{folder}/glance.db", stores, options) as glance:
            config = folder / "imageapi.conf"
            s3 = "\n".join(f"{name} = {value}" for name, value in s3_options(swift).items())
            paths = {"folder": folder, "ceph_conf": ceph.config}
            config.write_text(CONFIG.format(user=USER, pool=pool, s3=s3, **paths))
            yield glance, config


@pytest.mark.parametrize("store", ["ceph", "objects"])
def test_images_of_glance_are_downloaded(
    glance_and_config: tuple[DatabaseGlance, Path], store: str, caplog: pytest.LogCaptureFixture
) -> None:
    glance, config = glance_and_config
    image = {"name": store, "visibility": "public", "disk_format": "raw"}
    created = glance.ask("admin", "POST", "images", {**image, "container_format": "bare"})
    image_id = json.loads(created.body)["id"]
    put = {"X_Image_Meta_Store": store}
    assert glance.ask("admin", "PUT", f"images/{image_id}/file", DATA, **put).status == 204
    with closing(imageapi.ImageAPI(imageapi.load_config([str(config)]))) as api:
        answer = get(api, f"/v1/images/{image_id}")
        assert answer.status_int == 200, caplog.text
        assert answer.body == DATA
        part = get(api, f"/v1/images/{image_id}", Range="bytes=9437180-")
        assert (part.status_int, part.body) == (206, DATA[9437180:])
        assert glance.ask("admin", "DELETE", f"images/{image_id}").status == 204
        assert get(api, f"/v1/images/{image_id}").status_int == 404
    assert KEY not in caplog.text
