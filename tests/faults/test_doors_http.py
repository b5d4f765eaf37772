"""Requests of every wrong kind at the door of ``serve``, by its ASGI application."""

from __future__ import annotations

import asyncio
import json
import traceback

import pytest
from hypothesis import strategies as st

httpx = pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")

from recsim_drpo.cli.serve import _loaded  # noqa: E402
from recsim_drpo.serving.exploration import Exploration  # noqa: E402
from recsim_drpo.serving.http import make_app  # noqa: E402
from recsim_drpo.serving.online import Service, ServiceLimits  # noqa: E402
from tests.faults.conftest import scaled, seeded  # noqa: E402
from tests.faults.doors import Outcome, check, drawn, outcomes  # noqa: E402
from tests.faults.mutation import mutated  # noqa: E402
from tests.serving.conftest import Service as Made  # noqa: E402

pytestmark = pytest.mark.faults

NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 1e39, -1e300, 2**63, 10**400, float("nan"), float("inf"), True]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
ROW = st.one_of(st.lists(NUMBERS, min_size=4, max_size=4), st.lists(VALUES, max_size=6), VALUES)
ITEMS = st.one_of(st.lists(st.integers(-2, 70), max_size=6), VALUES)
FIELDS = {
    "contexts": st.one_of(st.lists(ROW, max_size=4), VALUES),
    "context": ROW,
    "k": st.one_of(st.integers(-1, 70), VALUES),
    "candidates": st.one_of(st.lists(ITEMS, max_size=4), VALUES),
    "exclude": st.one_of(st.lists(ITEMS, max_size=4), VALUES),
    "other": VALUES,
}
BODIES = st.one_of(
    *(
        st.fixed_dictionaries(
            {name: FIELDS[name] for name in needed},
            optional={name: field for name, field in FIELDS.items() if name not in needed},
        )
        for needed in (["contexts"], ["context"], [])
    ),
    VALUES,
)
SOUND = json.dumps(
    {"contexts": [[0.1, 0.2, 0.3, 0.4]] * 3, "k": 3, "candidates": [[1, 2, 3]] * 3}
).encode()
HEADERS = [
    {},
    {"content-length": "-1"},
    {"content-length": "1e3"},
    {"content-length": "9" * 5_000},
    {"content-length": "²"},
    {"content-type": "text/html"},
    {"content-encoding": "gzip"},
    {"transfer-encoding": "chunked"},
]


async def asked(app, method, path, body, headers):
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        return await client.request(method, path, content=body, headers=raw)


def answered(app, request):
    """What became of a request: 0 for a right answer, 2 for one line that says what is wrong."""
    try:
        answer = asyncio.run(asked(app, *request))
    except Exception:
        return Outcome(None, "", raised="\n".join(traceback.format_exc().splitlines()[-9:]))
    if answer.status_code == 200:
        if request[1] == "/recommend":
            assert all(map(json.dumps, answer.json()["recommendations"]))
            json.dumps(answer.json(), allow_nan=False)
        return Outcome(0, "")
    if answer.is_redirect:
        return Outcome(0, "")
    if answer.status_code >= 500:
        return Outcome(answer.status_code, answer.text)
    return Outcome(2, f"recsim-drpo: error: {answer.json()['error']}\n")


@pytest.fixture
def make(tmp_path):
    run = Made.make_run(tmp_path / "run")

    def service(**options):
        limits = ServiceLimits(k=5, max_k=50, max_contexts=64, max_bytes=300_000)
        return make_app(Service(lambda: _loaded(run, **options), limits, Exploration(epsilon=0.2)))

    return service


def as_body(value):
    return json.dumps(value).encode("utf-8", "surrogatepass")


def test_bodies(make):
    app = make()
    requests = [("POST", "/recommend", SOUND, {})]
    requests += [
        ("POST", "/recommend", as_body(value), {}) for value in drawn(BODIES, scaled(2_000))
    ]
    rng = seeded("bodies")
    requests += [
        ("POST", "/recommend", mutated(SOUND, rng), rng.choice(HEADERS))
        for _ in range(scaled(1_500))
    ]
    found = outcomes(requests, lambda request: answered(app, request))
    assert found[0].code == 0, found[0]
    check(requests, found)


def test_paths_and_methods(make):
    app = make()
    rng = seeded("paths")
    paths = ["/recommend", "/reload", "/health", "/version", "/metrics", "/", "//", "/%00"]
    paths += ["/recommend/", "/recommend?k=3", "/../etc/passwd", "/é", "/" + "x" * 10_000]
    methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]
    requests = [
        (rng.choice(methods), rng.choice(paths), rng.choice((b"", SOUND)), rng.choice(HEADERS))
        for _ in range(scaled(300))
    ]
    check(requests, outcomes(requests, lambda request: headed(app, request)))


def headed(app, request):
    if request[0] == "HEAD":  # which is answered without a body
        asyncio.run(asked(app, *request))
        return Outcome(0, "")
    return answered(app, request)
