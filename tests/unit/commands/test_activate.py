# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.deployment import Deployment, get
from tests.unit.commands.conftest import Run


def test_deactivated_and_active_again(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data")
    api = deployment.api()
    assert run("deactivate", "i") == (0, "", "")
    assert get(api, "/v1/images/i").status_code == 403
    assert run("deactivate", "i")[0] == 0
    assert run("activate", "i") == (0, "", "")
    assert get(api, "/v1/images/i").body == b"data"
    api.close()


@pytest.mark.parametrize("command", ["activate", "deactivate"])
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "queued"}, "it is queued: only active and deactivated images change"),
        ({"deleted": True}, "it is deleted: only active and deactivated images change"),
        ({"status": "actve"}, "status must be one of"),
        (None, "no record"),
    ],
)
def test_what_cannot_be_changed(
    deployment: Deployment, run: Run, command: str, fields: dict[str, object] | None, told: str
) -> None:
    if fields is not None:
        deployment.record("i", **fields)
    status, _, err = run(command, "i")
    assert status == 1
    assert err.startswith(f"imageapi: image i: {told}")
