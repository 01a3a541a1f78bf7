# SPDX-License-Identifier: Apache-2.0
"""Each example for a framework, on a real server, has the outcomes of docs/frameworks.md."""

from collections.abc import Iterator

import pytest

from tests.functional.framework_checks import COLUMNS
from tests.functional.framework_table import Outcomes, table_of_the_page
from tests.functional.frameworks import ROWS, Bench, Change, Row

IDENTITY = 'environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)'

MIDDLEWARE = '"django.middleware.security.SecurityMiddleware"'
DJANGO_BODY = "StreamingHttpResponse(answer.app_iter, "
FLASK_ANSWER = "    return images.respond(webob.Request(request.environ), image_id)\n"

# Faults that docs/frameworks.md warns of, or that an example could have, by the row and
# column that notice them.
WRONG = {
    ("Django, in a view", "range"): Change(
        "django_app.py", MIDDLEWARE, '"django.middleware.gzip.GZipMiddleware"'
    ),
    ("Django, in a view", "304, 412"): Change(
        "django_app.py", MIDDLEWARE, '"django.middleware.http.ConditionalGetMiddleware"'
    ),
    ("Django, in a view", "client leaves: closed"): Change(
        "django_app.py", DJANGO_BODY, "StreamingHttpResponse((x for x in answer.app_iter), "
    ),
    ("Django, in a view", "GET"): Change(
        "django_app.py",
        '{**request.environ, "PATH_INFO": request.path_info.encode().decode("latin-1")}',
        "request.environ",
    ),
    ("Flask, in a view", "corrupt: broken off"): Change(
        "flask_app.py",
        FLASK_ANSWER,
        """
    answer = images.respond(webob.Request(request.environ), image_id)

    def body():
        try:
            yield from answer.app_iter
        except Exception:
            yield b"0" * 3_000_000

    return body(), answer.status_code, answer.headerlist
""",
    ),
    ("Flask, in a view", "404"): Change(
        "flask_app.py",
        FLASK_ANSWER,
        "    return images.respond(webob.Request(request.environ), image_id).body\n",
    ),
    ("Bottle, under a prefix", "GET"): Change(
        "bottle_app.py",
        'if environ["PATH_INFO"].startswith("/glance/"):',
        'if app.mount("/glance/", images):',
    ),
    ("FastAPI, under a prefix", "GET"): Change(
        "fastapi_app.py",
        'app.mount("/glance", identified)',
        """
from starlette.middleware.wsgi import WSGIMiddleware

app.mount("/glance", WSGIMiddleware(images.api))
""",
    ),
    ("FastAPI, under a prefix", "caller"): Change(
        "fastapi_app.py", 'app.mount("/glance", identified)', 'app.mount("/glance", images)'
    ),
    ("FastAPI, at /v1", "GET"): Change(
        "fastapi_app.py",
        "app = FastAPI(lifespan=lifespan)",
        """
from starlette.middleware.gzip import GZipMiddleware

app = FastAPI(lifespan=lifespan)
app.add_middleware(GZipMiddleware)
""",
    ),
    ("plain WSGI, in front", "caller"): Change("wsgi_app.py", '"REMOTE_USER"', '"HTTP_X_USER_ID"'),
    ("plain WSGI, in front", "HEAD"): Change(
        "wsgi_app.py",
        "    return in_front(environ, start_response)\n",
        '    return in_front({**environ, "REQUEST_METHOD": "GET"}, start_response)\n',
    ),
    ("plain WSGI, in front", "403"): Change(
        "wsgi_app.py", IDENTITY, IDENTITY.replace("user_id=user", 'user_id="alice"')
    ),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("frameworks")) as bench:
        yield bench


@pytest.fixture(scope="module")
def outcomes(bench: Bench) -> Outcomes:
    return Outcomes(bench)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_cell(outcomes: Outcomes, row: Row, column: str) -> None:
    outcomes.check(row, column)


def test_table_of_the_page_is_what_came_out(outcomes: Outcomes) -> None:
    run = "run python -m tests.functional.framework_table"
    assert table_of_the_page() == outcomes.table(), run


@pytest.mark.parametrize(("cell", "change"), WRONG.items(), ids=map(str, WRONG))
def test_what_is_wrong_is_noticed(bench: Bench, cell: tuple[str, str], change: Change) -> None:
    (row,) = (row for row in ROWS if row.id == cell[0])
    with bench.serve_wrong(change) as served, pytest.raises(AssertionError):
        COLUMNS[cell[1]](bench, served, row)
