# SPDX-License-Identifier: Apache-2.0
import ssl
import threading
from typing import Any

import pytest
from keystoneauth1 import exceptions, noauth
from keystoneauth1.plugin import BaseAuthPlugin

from imageapi.backends.http_client.client import NotReached
from imageapi.backends.http_client.options import UpstreamSettings
from imageapi.backends.http_client.urls import Url
from imageapi.backends.swift import session as module
from imageapi.backends.swift.session import Login, SwiftSession
from imageapi.errors import BackendError, BackendUnavailable, BadReply, ConfigurationError
from tests.functional.clock import clock_of

SECTION = {
    "insecure": False,
    "cafile": None,
    "endpoint_override": None,
    "service_type": "object-store",
    "service_name": None,
    "valid_interfaces": ["public"],
    "region_name": None,
}


class Plugin(BaseAuthPlugin):
    """Logs in as a test says."""

    auth_url = "http://keystone/v3"

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.logins = 0
        self.token = "t0ken"
        self.endpoint = "http://swift/v1/AUTH_a"
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def get_headers(self, session: Any, **_: Any) -> dict[str, str]:
        self.logins += 1
        assert self.may_go_on.wait(60)
        if self.error is not None:
            raise self.error
        return {"X-Auth-Token": self.token}

    def get_endpoint(self, session: Any, **_: Any) -> str:
        return self.endpoint

    def get_project_id(self, session: Any, **_: Any) -> str:
        return "p"

    def invalidate(self) -> bool:
        return True


def session_for(auth: BaseAuthPlugin, **options: Any) -> SwiftSession:
    settings = UpstreamSettings(5, 5, 1, ssl.create_default_context())
    return SwiftSession(auth, settings, SECTION | options)


def test_a_login_is_a_token_and_the_account_in_the_catalog() -> None:
    session = session_for(Plugin())
    login = session.login()
    assert login.headers == {"X-Auth-Token": "t0ken"}
    assert str(login.url_of("/images/i", "limit=1")) == "http://swift/v1/AUTH_a/images/i?limit=1"
    assert repr(login) == "<Login>"
    session.close()


def test_the_account_is_looked_up_again_with_a_new_token() -> None:
    auth = Plugin()
    session = session_for(auth)
    login = session.login()
    auth.endpoint = "http://other/v1/AUTH_a"
    assert session.login() is login
    auth.token = "other"
    assert session.login().endpoint.host == "other"
    session.close()


def test_an_overriding_endpoint_may_contain_the_project() -> None:
    session = session_for(Plugin(), endpoint_override="http://front/v1/AUTH_%(project_id)s")
    assert str(session.login().endpoint) == "http://front/v1/AUTH_p"
    session.close()


def test_without_a_login_the_endpoint_must_be_set_and_no_token_is_sent() -> None:
    with pytest.raises(ConfigurationError, match="endpoint_override: must be set"):
        session_for(noauth.NoAuth())
    session = session_for(noauth.NoAuth(), endpoint_override="http://swift/v1/AUTH_a")
    assert session.login().headers == {}
    session.close()


@pytest.mark.parametrize(
    ("raised", "error", "text"),
    [
        (exceptions.SSLError("s3cret"), BackendUnavailable, "the TLS connection failed"),
        (exceptions.ConnectTimeout("s3cret"), BackendUnavailable, "timed out"),
        (exceptions.ConnectFailure("s3cret"), NotReached, "cannot be reached"),
        (exceptions.EndpointNotFound("s3cret"), BadReply, "the catalog has no object-store"),
        (exceptions.Unauthorized("s3cret"), BadReply, "answers with status 401"),
        (exceptions.NotFound("s3cret"), BadReply, "check auth_url"),
        (exceptions.ServiceUnavailable("s3cret"), BackendUnavailable, "answers with status 503"),
        (KeyError("s3cret"), BadReply, "logging in at http://keystone/v3 failed: KeyError"),
    ],
)
def test_a_failed_login_tells_its_cause_and_no_text_of_keystone(
    raised: Exception, error: type[BackendError], text: str
) -> None:
    auth = Plugin()
    auth.error = raised
    session = session_for(auth)
    with pytest.raises(error, match=text) as caught:
        session.login()
    assert "s3cret" not in str(caught.value)
    session.close()


def test_a_thread_that_waits_for_a_login_shares_its_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = clock_of(module, monkeypatch)
    auth = Plugin()
    auth.error = exceptions.ConnectFailure("down")
    auth.may_go_on.clear()
    session = session_for(auth)
    failed: list[BackendError] = []

    def log_in() -> None:
        try:
            session.login()
        except BackendError as error:
            failed.append(error)

    threads = [threading.Thread(target=log_in) for _ in range(2)]
    for thread in threads:
        thread.start()
    clock.wait_for_looks(2)
    auth.may_go_on.set()
    for thread in threads:
        thread.join(60)
    assert (len(failed), auth.logins) == (2, 1)
    clock.step = 1
    log_in()
    assert (len(failed), auth.logins) == (3, 2)
    session.close()


def test_a_login_is_discarded_only_if_it_is_the_current_one() -> None:
    auth = Plugin()
    session = session_for(auth)
    first = session.login()
    assert session.renew(first)
    second = session.login()
    assert second is not first
    # Another thread's request was refused with the first login too.
    assert session.renew(first)
    assert session.login() is second
    assert not session.renew(Login({}, Url.parse("http://swift/")))
    session.close()
