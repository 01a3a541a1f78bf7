# SPDX-License-Identifier: Apache-2.0
"""Images that a real Glance makes through v2, and what it answers to each caller about them."""

import json
from typing import Any, NamedTuple

from tests.functional.database_glance import PEOPLE, DatabaseGlance
from tests.functional.http_client import Answer, ask
from tests.functional.waiting import wait_until

PATCH = "application/openstack-images-v2.1-json-patch"


class Access(NamedTuple):
    """What one API lets one caller do with one image.

    :ivar shown: whether the caller may know of it.
    :ivar listed: whether it is in the caller's list of all images.
    :ivar data: what the caller downloads; None if the download is refused.
    """

    shown: bool
    listed: bool
    data: bytes | None


class Maker:
    """Makes images through v2.

    :ivar ids: of the images, by the names that the tests give them.
    """

    def __init__(self, glance: DatabaseGlance) -> None:
        self._glance = glance
        self.ids: dict[str, str] = {}

    def do(self, person: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request that succeeds; returns the JSON of the answer."""
        answer = self._glance.ask(person, method, path, body, **headers)
        assert answer.status in (200, 201, 202, 204), (path, answer)
        return json.loads(answer.body) if answer.body else None

    def create(self, name: str, visibility: str = "shared", **fields: Any) -> str:
        """Make an image of the project ``images``, without data; returns its path."""
        body = {
            "name": name,
            "visibility": visibility,
            "owner": "images",
            "disk_format": "raw",
            "container_format": "bare",
        }
        # Only an admin may make public images and those of others.
        self.ids[name] = self.do("admin", "POST", "images", body | fields)["id"]
        return f"images/{self.ids[name]}"

    def upload(self, name: str, visibility: str = "shared", **fields: Any) -> str:
        """Make an image with data; returns its path."""
        path = self.create(name, visibility, **fields)
        person = "owner" if fields.get("owner", "images") else "admin"
        self.do(person, "PUT", f"{path}/file", bytes_named(name))
        return path

    def share(self, name: str, status: str = "accepted") -> str:
        """Make an image with data and the member ``customers``; returns its path."""
        path = self.upload(name)
        self.do("owner", "POST", f"{path}/members", {"member": "customers"})
        if status != "pending":
            self.do("member", "PUT", f"{path}/members/customers", {"status": status})
        return path

    def change(self, path: str, **fields: Any) -> None:
        """Replace or add fields. A field that is None is removed."""
        image = self.do("owner", "GET", path)
        operations = []
        for name, value in fields.items():
            if value is None:
                operations.append({"op": "remove", "path": f"/{name}"})
            else:
                op = "replace" if name in image else "add"
                operations.append({"op": op, "path": f"/{name}", "value": value})
        self.do("owner", "PATCH", path, operations, Content_Type=PATCH)

    def stage(self, name: str) -> str:
        """Make an image whose data waits to be imported; returns its path."""
        path = self.create(name)
        self.do("owner", "PUT", f"{path}/stage", bytes_named(name))
        return path

    def import_data(self, path: str, method: str, store: str) -> None:
        """Import the data of an image to a store, and wait until Glance has ended that.

        Other requests could lock the database of SQLite meanwhile, and Glance forgets an import
        that finds it locked. Asking for tasks is such a request. So its log tells the end.
        """
        before = self._imports()
        body = {"method": {"name": method}, "stores": [store]}
        self.do("admin", "POST", f"{path}/import", body)
        wait_until(lambda: self._imports() > before, "Glance does not import the data")
        assert store in self.do("admin", "GET", path)["stores"]

    def _imports(self) -> int:
        return (self._glance.folder / "glance.log").read_text().count("import completed\n")


def bytes_named(name: str) -> bytes:
    """The data of an image: no two have the same."""
    return b"" if name == "empty" else f"data of {name}\n".encode() * 100


def make_images(glance: DatabaseGlance) -> dict[str, str]:
    """Make one image of each kind that v1 clients may meet; returns their ids by their names."""
    maker = Maker(glance)
    maker.import_data(maker.stage("imported"), "glance-direct", "slow")
    maker.import_data(maker.upload("copied"), "copy-image", "slow")
    maker.import_data(maker.upload("removed from fast"), "copy-image", "slow")
    maker.do("admin", "DELETE", f"stores/fast/{maker.ids['removed from fast']}")

    for visibility in ("public", "private", "shared", "community"):
        maker.upload(visibility, visibility)
    for status in ("pending", "accepted", "rejected"):
        maker.share(status, status)
    maker.do("owner", "DELETE", f"{maker.share('member removed')}/members/customers")
    maker.change(maker.share("shared, then private"), visibility="private")
    maker.change(maker.share("shared, then community"), visibility="community")

    maker.upload("hidden and public", "public", os_hidden=True)
    maker.change(maker.share("hidden and accepted"), os_hidden=True)
    maker.do("admin", "POST", f"{maker.share('deactivated')}/actions/deactivate")
    maker.do("owner", "DELETE", maker.share("deleted"))
    maker.create("queued", "public")
    maker.stage("uploading")
    maker.upload("empty")
    for visibility in ("private", "shared", "public"):
        maker.upload(f"{visibility} without owner", visibility, owner=None)

    changed = maker.upload(
        "changed", distro="Ubuntu 10.04", gone="soon", min_disk=3, min_ram=128, protected=True
    )
    maker.change(changed, distro="Ubuntu ü €", gone=None)
    return maker.ids


def ask_v2(glance: DatabaseGlance, ids: dict[str, str]) -> dict[str, list[Access]]:
    """What v2 answers about each image, by its name, to each of `PEOPLE`, in their order."""
    found: dict[str, list[Access]] = {name: [] for name in ids}
    for person in PEOPLE:
        answer = glance.ask(person, "GET", "images?limit=1000")
        images = json.loads(answer.body)["images"] if answer.status == 200 else []
        listed = {image["id"] for image in images}
        for name, image_id in ids.items():
            shown = glance.ask(person, "GET", f"images/{image_id}").status == 200
            data = glance.ask(person, "GET", f"images/{image_id}/file")
            found[name].append(Access(shown, image_id in listed, _data_in(data)))
    return found


def _data_in(answer: Answer) -> bytes | None:
    return answer.body if answer.status == 200 else None


def ask_v1(port: int, ids: dict[str, str]) -> dict[str, list[Access]]:
    """The same of imageapi's v1 at a port. An admin asks for the list of all images."""
    found: dict[str, list[Access]] = {name: [] for name in ids}
    for person, caller in PEOPLE.items():
        parameters = "?limit=1000" + ("&is_public=none" if person == "admin" else "")
        answer = ask(port, f"/v1/images{parameters}", **caller.headers())
        images = json.loads(answer.body)["images"] if answer.status == 200 else []
        listed = {image["id"] for image in images}
        for name, image_id in ids.items():
            path = f"/v1/images/{image_id}"
            shown = ask(port, path, "HEAD", **caller.headers()).status == 200
            data = ask(port, path, **caller.headers())
            found[name].append(Access(shown, image_id in listed, _data_in(data)))
    return found


def as_rows(answers: dict[str, list[Access]]) -> dict[str, str]:
    """The answers of an API as the rows of a table, by the names of the images.

    A row has three characters for each person: S if the image is shown, L if it is in the list
    and D if its data is sent. In place of D, ? stands for other bytes than those of the image.
    """
    return {
        name: " ".join(_three_characters(access, name) for access in row)
        for name, row in answers.items()
    }


def _three_characters(access: Access, name: str) -> str:
    data = "-"
    if access.data is not None:
        data = "D" if access.data == bytes_named(name) else "?"
    return ("S" if access.shown else "-") + ("L" if access.listed else "-") + data
