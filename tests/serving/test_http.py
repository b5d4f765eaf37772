"""The service in process, by its ASGI application, and as a server that is started and stopped."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from recsim_drpo.cli import main
from recsim_drpo.cli.serve import _loaded
from recsim_drpo.serving.exploration import Exploration
from recsim_drpo.serving.online import Service, ServiceLimits
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.serving.rules import Rules

httpx = pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from recsim_drpo.serving.http import _listening, make_app, run_server  # noqa: E402


def service_of(run, limits=None, exploration=None, rules=None, **options):
    return Service(lambda: _loaded(run, **options), limits, exploration, rules)


def ask(app, *requests):
    """Answers to (method, path, content) or to functions of the client, all at once."""

    async def one(client, request):
        if callable(request):
            return await request(client)
        method, path, content = request
        body = content if content is None or isinstance(content, bytes) else json.dumps(content)
        return await client.request(method, path, content=body)

    async def everything():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(one(client, request) for request in requests))

    return asyncio.run(everything())


def test_one_and_many_contexts(service, run, contexts):
    app = make_app(service_of(run))
    many, one, top = ask(
        app,
        ("POST", "/recommend", {"contexts": contexts.tolist(), "k": 3}),
        ("POST", "/recommend", {"context": contexts[4].tolist(), "k": 60}),
        ("POST", "/recommend", {"context": contexts[4].tolist()}),
    )
    recommender = load_recommender(run)
    scores, rows = recommender.top(contexts, 60)
    found = many.json()["recommendations"]
    assert many.status_code == 200
    assert [[item["item_id"] for item in items] for items in found] == rows[:, :3].tolist()
    given = [[item["score"] for item in items] for items in found]
    np.testing.assert_allclose(given, scores[:, :3], atol=1e-6)
    assert len(str(given[0][0])) < 12  # the shortest decimal of a float32
    assert {item["propensity"] for items in found for item in items} == {1.0}
    assert many.json()["run"] == "run"
    (items,) = one.json()["recommendations"]
    assert [item["item_id"] for item in items] == rows[4].tolist()
    assert len(top.json()["recommendations"][0]) == 10


def test_exploration_has_the_propensities_of_recommend(service, run, contexts):
    exploration = Exploration(epsilon=0.5, seed=3)
    app = make_app(service_of(run, exploration=exploration))
    bodies = [{"contexts": contexts[start : start + 5].tolist(), "k": 2} for start in (0, 5, 10)]
    answers = []
    for body in bodies:  # one after another: numbers count on
        answers += ask(app, ("POST", "/recommend", body))
    assert [answer.json()["first_draw"] for answer in answers] == [0, 5, 10]
    found = [items for answer in answers for items in answer.json()["recommendations"]]
    _, rows, propensities = load_recommender(run).show(contexts[:15], 2, exploration)
    assert [[item["item_id"] for item in items] for items in found] == rows.tolist()
    np.testing.assert_allclose([[i["propensity"] for i in items] for items in found], propensities)
    # All at once: no two contexts share a number.
    answers = ask(app, *[("POST", "/recommend", bodies[0])] * 20)
    firsts = sorted(answer.json()["first_draw"] for answer in answers)
    assert firsts == list(range(15, 115, 5))


def test_rules_of_the_service_and_of_a_request(service, run, contexts, tmp_path):
    (tmp_path / "deny.txt").write_text("\n".join(map(str, range(0, 60, 2))))
    app = make_app(service_of(run, rules=Rules(deny=tmp_path / "deny.txt")))
    pools = [list(range(i, i + 20)) for i in range(25)]
    body = {"contexts": contexts.tolist(), "candidates": pools, "exclude": [[1, 3, 5, 9999]] * 25}
    single = {"context": contexts[0].tolist(), "candidates": [7, 8, 9], "k": 3}
    unknown = {"context": contexts[0].tolist(), "candidates": [7, 77]}
    many, one, wrong = ask(app, *(("POST", "/recommend", each) for each in (body, single, unknown)))
    order = load_recommender(run).top(contexts, 60)[1].tolist()
    for i, items in enumerate(many.json()["recommendations"]):
        allowed = {j for j in pools[i] if j % 2} - {1, 3, 5}
        expected = [j for j in order[i] if j in allowed][:10]
        assert [item["item_id"] for item in items] == expected
    (items,) = one.json()["recommendations"]
    assert sorted(item["item_id"] for item in items) == [7, 9]
    assert wrong.status_code == 400
    assert "no item '77'" in wrong.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[" * 4_000, 400, "nested too deeply"),
        ({"x" * 3_000: 1}, 400, "Known: candidates, context, contexts, exclude, k."),
        ({"context": [0, 0, 0, 10**400]}, 400, "Context 0 is not of finite"),
        ([1], 400, "not an object"),
        ({}, 400, "needs 'contexts'"),
        ({"context": [1], "contexts": [[1]]}, 400, "needs 'contexts'"),
        ({"contxt": [1]}, 400, "Did you mean 'context'"),
        ({"contexts": []}, 400, "at least one"),
        ({"contexts": [[0] * 4] * 9}, 400, "number of contexts=9 is not an integer from 1 to 8"),
        ({"contexts": [[0] * 4, [0] * 3]}, 400, "Context 1 is not a list of 4 numbers"),
        ({"context": [0, 0, 0, True]}, 400, "no number"),
        ({"context": [0, 0, 0, "1"]}, 400, "no number"),
        (b'{"context": [0, 0, 0, NaN]}', 400, "Context 0 is not of finite"),
        ({"context": [0, 0, 0, 1e39]}, 400, "Context 0 is not of finite"),
        ({"context": {"age": 3}}, 400, "this one takes lists of 4 numbers"),
        ({"context": [0] * 4, "k": 0}, 400, "k=0 is not an integer from 1 to 20"),
        ({"context": [0] * 4, "k": 21}, 400, "k=21"),
        ({"context": [0] * 4, "k": "3"}, 400, "k='3'"),
        ({"context": [0] * 4, "candidates": 3}, 400, "for each of the 1 contexts"),
        ({"contexts": [[0] * 4] * 2, "exclude": [[1]]}, 400, "for each of the 2 contexts"),
        ({"context": [0] * 4, "candidates": ["x" * 5_000]}, 413, "longer than 4096 bytes"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told(run, body, status, message):
    limits = ServiceLimits(max_k=20, max_contexts=8, max_bytes=4_096)
    app = make_app(service_of(run, limits))
    wrong, right = ask(
        app, ("POST", "/recommend", body), ("POST", "/recommend", {"context": [0, 0, 0, 1]})
    )
    assert wrong.status_code == status
    assert message in wrong.json()["error"]
    assert len(wrong.json()["error"]) <= 400
    assert right.status_code == 200


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "9" * 5_000])
def test_a_length_that_is_no_number_is_told(run, length):
    app = make_app(service_of(run))

    async def send(client):
        headers = [(b"content-length", length.encode())]
        return await client.request("POST", "/recommend", content=b"{}", headers=headers)

    (answer,) = ask(app, send)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("content-length=")
    assert len(answer.json()["error"]) < 150


@pytest.mark.parametrize(
    ("port", "grace", "message"),
    [
        (65_536, 1.0, "port=65536 is not an integer from 0 to 65535"),
        (-1, 1.0, "port=-1"),
        (10**30, 1.0, "port=1000"),
        (0, float("nan"), "grace=nan"),
        (0, float("inf"), "grace=inf"),
        (0, -1.0, "grace=-1.0"),
    ],
)
def test_a_port_or_a_grace_that_is_none_is_told(run, port, grace, message):
    with pytest.raises(ValueError, match=message):
        run_server(service_of(run), "127.0.0.1", port, grace=grace)


def test_a_long_request_of_unknown_length_is_cut_off(run):
    sent = []

    async def pieces():
        for _ in range(100):
            sent.append(1)
            yield b" " * 1_000

    async def send(client):
        return await client.post("/recommend", content=pieces())

    (answer,) = ask(make_app(service_of(run, ServiceLimits(max_bytes=5_000))), send)
    assert answer.status_code == 413


def test_time_and_turns_are_bounded(run):
    limits = ServiceLimits(timeout=0.3, max_waiting=2, max_batch=1)
    service = service_of(run, limits)
    answers, go = service.answers, threading.Event()

    def slow(requests):
        go.wait(10)
        return answers(requests)

    service.answers = slow
    body = ("POST", "/recommend", {"context": [0, 0, 0, 1]})

    async def later(client):
        await asyncio.sleep(0.1)
        refused = await client.post("/recommend", content=json.dumps(body[2]))
        await asyncio.sleep(0.6)
        go.set()
        return refused

    async def endless(client):
        async def pieces():
            yield b"{"
            await asyncio.sleep(5)

        return await client.post("/recommend", content=pieces())

    app = make_app(service)
    first, second, third = ask(app, body, body, later)
    assert first.status_code == 200  # it had begun, and ends, however long it takes
    assert second.status_code == 503
    assert "no turn within 0.3 s" in second.json()["error"]
    assert third.status_code == 503
    assert "2 requests are waiting" in third.json()["error"]
    slow_sender, fine = ask(make_app(service), endless, body)
    assert slow_sender.status_code == 408
    assert fine.status_code == 200
    (again,) = ask(make_app(service), body)
    assert again.status_code == 200


def watched(service):
    """How many requests each calculation of a service had; the first waits until it is let go.

    The others are to be sent by :func:`behind`, so that the first is alone.
    """
    sizes, answers, go = [], service.answers, threading.Event()

    def calculate(requests):
        sizes.append(len(requests))
        if len(sizes) == 1:
            go.wait(30)
        return answers(requests)

    service.answers = calculate

    async def let_go(client):
        await asyncio.sleep(0.3)
        go.set()

    return sizes, let_go


def behind(body, place=0):
    """What sends a request a little later; of several those with smaller places first."""

    async def send(client):
        await asyncio.sleep(0.1 + 0.02 * place)
        return await client.post("/recommend", content=json.dumps(body))

    return send


@pytest.mark.parametrize("exploration", [None, Exploration(epsilon=0.5, seed=3)])
def test_requests_that_wait_are_calculated_together_and_answered_as_alone(
    run, contexts, exploration
):
    bodies = [{"context": context, "k": 3} for context in contexts[:12].tolist()]
    bodies[3] |= {"k": 5}
    bodies[4] |= {"candidates": [4, 5, 6, 7]}
    bodies[5] |= {"exclude": [1, 2, 3], "k": 5}
    bodies[6] = {"contexts": contexts[12:20].tolist(), "k": 3}
    wrong = [
        {"context": [0, 0, 0, "1"]},
        {"context": contexts[0].tolist(), "candidates": [77], "k": 3},
        {"contexts": [[0, 0, 0, 1e39]] * 2},
    ]
    service = service_of(run, exploration=exploration)
    sizes, let_go = watched(service)
    app = make_app(service)
    first, *others = [*bodies, *wrong]
    *answers, _ = ask(app, ("POST", "/recommend", first), *map(behind, others), let_go)
    assert sizes == [1, len(bodies) + len(wrong) - 1]  # one that is alone does not wait
    assert [answer.status_code for answer in answers] == [200] * 12 + [400] * 3
    for answer, told in zip(
        answers[12:], ("no number", "no item '77'", "Context 0 is"), strict=True
    ):
        assert told in answer.json()["error"]
    numbers = []
    for body, answer in zip(bodies, answers, strict=False):
        alone = service_of(run, exploration=exploration)
        if exploration is not None:  # the draws of the numbers that it had
            alone._next = answer.json()["first_draw"]
            numbers += range(alone._next, alone._next + len(answer.json()["recommendations"]))
        expected = alone.answer(alone.parse(json.dumps(body).encode()))
        found = answer.json()
        for lists in zip(found["recommendations"], expected["recommendations"], strict=True):
            for one, other in zip(*lists, strict=True):
                assert (one["item_id"], one["propensity"]) == (
                    other["item_id"],
                    other["propensity"],
                )
                assert one["score"] == pytest.approx(other["score"], abs=1e-6)
    assert len(set(numbers)) == len(numbers)  # no number twice


def test_what_is_calculated_together_is_bounded_and_in_order(run):
    body, long = {"contexts": [[0, 0, 0, 1]] * 3}, {"contexts": [[0, 0, 0, 1]] * 9}
    row = [behind(one, place) for place, one in enumerate([body, body, long, body, body, body])]
    for most, expected in ((1, [1] * 7), (6, [1, 2, 1, 2, 1]), (12, [1, 2, 2, 2])):
        service = service_of(run, ServiceLimits(max_batch=most), Exploration(epsilon=0.5))
        sizes, let_go = watched(service)
        *answers, _ = ask(make_app(service), ("POST", "/recommend", body), *row, let_go)
        assert sizes == expected
        assert [answer.status_code for answer in answers] == [200] * 7
        firsts = [answer.json()["first_draw"] for answer in answers]
        assert firsts == [0, 3, 6, 9, 18, 21, 24]


def test_a_request_that_waited_too_long_is_left_out_of_the_next_calculation(run):
    service = service_of(run, ServiceLimits(timeout=1.0))
    sizes, let_go = watched(service)
    body = ("POST", "/recommend", {"context": [0, 0, 0, 1]})

    async def later(client):
        await asyncio.sleep(0.8)
        last = asyncio.create_task(client.post("/recommend", content=json.dumps(body[2])))
        await asyncio.sleep(0.1)
        await let_go(client)  # the second has waited for above a second
        return await last

    first, second, last = ask(make_app(service), body, behind(body[2]), later)
    assert [first.status_code, second.status_code, last.status_code] == [200, 503, 200]
    assert "no turn within 1 s" in second.json()["error"]
    assert sizes == [1, 1]


def test_those_who_come_together_are_waited_for(run):
    """Each asks again when it has its answer: they stay together, in place of taking turns."""
    service = service_of(run, ServiceLimits(batch_window=0.2))
    sizes, let_go = watched(service)

    def again_and_again(place):
        async def send(client):
            await asyncio.sleep(0.1 * (place > 0))
            for _ in range(4):
                answer = await client.post("/recommend", content=b'{"context": [0, 0, 0, 1]}')
                assert answer.status_code == 200

        return send

    ask(make_app(service), *map(again_and_again, range(5)), let_go)
    assert sizes == [1, 4, 5, 5, 5]


def test_health_version_metrics_and_other_paths(service, run):
    exploration = Exploration(temperature=0.1, top=12, seed=4)
    app = make_app(service_of(run, exploration=exploration))
    good = ("POST", "/recommend", {"contexts": [[0, 0, 0, 1]] * 3})
    ask(app, good, good, ("POST", "/recommend", b"{"))
    health, version, nowhere, wrong = ask(
        app,
        ("GET", "/health", None),
        ("GET", "/version", None),
        ("GET", "/nowhere", None),
        ("GET", "/recommend", None),
    )
    assert health.json() == {"status": "ok"}
    about = version.json()
    assert about["run"] == "run"
    assert about["agent"] == "bc"
    assert about["num_items"] == 60
    assert about["exploration"]["top"] == 12
    assert about["items_checksum"] == load_recommender(run).items.checksum
    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    assert "error" in nowhere.json()
    (metrics,) = ask(app, ("GET", "/metrics", None))
    numbers = dict(re.findall(r"^(\S+) (\S+)$", metrics.text, re.MULTILINE))
    assert float(numbers['recsim_requests_total{status="200"}']) == 4
    assert float(numbers['recsim_requests_total{status="400"}']) == 1
    assert float(numbers["recsim_contexts_total"]) == 6
    assert float(numbers["recsim_request_seconds_count"]) == 3
    assert float(numbers["recsim_waiting"]) == 0


def test_what_fails_within_is_an_answer_too(run):
    service = service_of(run)
    service.answers = lambda requests: 1 / 0
    app, body = make_app(service), ("POST", "/recommend", {"context": [0, 0, 0, 1]})
    for _ in range(2):  # and gives its turn back
        (failed,) = ask(app, body)
        assert failed.status_code == 500
        assert failed.json() == {"error": "The request could not be answered."}


def bias(shift):
    def change(agent):
        state = agent.state_dict()
        state["parameters.policy.bias_2"] = torch.arange(8.0) * shift
        agent.load_state_dict(state)

    return change


def test_hot_reload(service, tmp_path):
    old = service.make_run(tmp_path / "runs" / "old", change=bias(9.0))
    new = service.make_run(tmp_path / "runs" / "new", change=bias(-9.0))
    link = tmp_path / "current"
    link.symlink_to(old)
    app = make_app(service_of(link))
    body = ("POST", "/recommend", {"context": [0, 0, 0, 1]})
    (before,) = ask(app, body)
    link.unlink()
    (gone,) = ask(app, ("POST", "/reload", None))
    assert gone.status_code == 409
    assert "There is no run in" in gone.json()["error"]
    assert ask(app, body)[0].json() == before.json()
    link.symlink_to(new)
    (told,) = ask(app, ("POST", "/reload", None))
    assert told.json()["run"] == "new"
    (after,) = ask(app, body)
    assert before.json()["run"] == "old"
    assert after.json()["run"] == "new"
    expected = load_recommender(new).top(np.array([[0, 0, 0, 1]], dtype=np.float32))[1]
    assert [i["item_id"] for i in after.json()["recommendations"][0]] == expected[0].tolist()
    assert after.json() != before.json()


def test_named_values_of_an_imported_log(minari_root, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    np.savez("items.npz", embeddings=np.eye(4, dtype=np.float32), item_ids=["a", "b", "c", "d"])
    rows = [
        f"{'abcd'[generator.integers(4)]},{generator.integers(2)},0.25,{generator.normal():.3f},"
        f"{['desk', 'phone'][generator.integers(2)]}"
        for _ in range(200)
    ]
    (tmp_path / "log.csv").write_text("\n".join(["item_id,reward,propensity,age,device", *rows]))
    command = ["import", "shop/log-v0", "log.csv", "--items", "items.npz"]
    command += ["--numbers", "age", "--categories", "device", "--transform", "age=none"]
    assert main(command) == 0
    train = ["train", "--dataset", "shop/log-v0", "--agent", "bc", "--steps", "3", "--out", "runs"]
    assert main(train) == 0
    app = make_app(service_of(tmp_path / "runs", ServiceLimits(k=2)))
    named = [{"age": 0.5, "device": "phone"}, {"age": -1, "device": "desk", "more": 1}]
    seen, others = ({"contexts": [[0.5, 0, 0]] * 2}, [{"age": 0.5, "device": "tv"}])
    others.append({"age": 0.5, "device": None})  # the log had neither: no dimension is 1
    zeros, novel = ask(
        app, ("POST", "/recommend", seen), ("POST", "/recommend", {"contexts": others})
    )
    assert novel.status_code == 200
    assert novel.json()["recommendations"] == zeros.json()["recommendations"]
    good, coded, missing, unknown = ask(
        app,
        ("POST", "/recommend", {"contexts": named}),
        ("POST", "/recommend", {"contexts": [[0.5, 0, 1], [-1, 1, 0]]}),
        ("POST", "/recommend", {"context": {"age": 0.5, "devise": "phone"}}),
        ("POST", "/recommend", {"context": {"age": "old", "device": "phone"}}),
    )
    assert good.status_code == 200
    assert good.json()["recommendations"] == coded.json()["recommendations"]
    assert {item["item_id"] for item in good.json()["recommendations"][0]} <= set("abcd")
    assert missing.status_code == 400
    assert "Did you mean 'devise'" in missing.json()["error"]
    assert unknown.status_code == 400
    assert "context 0: age: no finite number ('old')" in unknown.json()["error"]


def start(run, *words):
    command = [sys.executable, "-m", "recsim_drpo.cli", "serve", str(run), "--port", "0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return process, int(found[1])
    raise AssertionError(f"the server ended with {process.wait()}")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of Unix")
def test_the_server_reloads_and_stops_gracefully(service, tmp_path):
    run = service.make_run(tmp_path / "runs" / "served", change=bias(9.0))
    process, port = start(tmp_path / "runs")
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def post(body):
            connection.request("POST", "/recommend", json.dumps(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        status, first = post({"context": [0, 0, 0, 1], "k": 3})
        assert status == 200
        other = service.make_run(tmp_path / "other", change=bias(-9.0))
        shutil.rmtree(run)
        shutil.move(other, run)
        os.kill(process.pid, signal.SIGHUP)
        end = time.monotonic() + 30
        while (answer := post({"context": [0, 0, 0, 1], "k": 3})[1]) == first:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert answer["recommendations"] != first["recommendations"]
        # A request that has begun when the signal comes is answered.
        raw = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        raw.putrequest("POST", "/recommend")
        body = json.dumps({"context": [0, 0, 0, 1]}).encode()
        raw.putheader("content-length", str(len(body)))
        raw.endheaders(body[:5])
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        raw.send(body[5:])
        response = raw.getresponse()
        assert response.status == 200
        assert len(json.loads(response.read())["recommendations"][0]) == 10
        connection.close()
        raw.close()
        process.wait(30)
        with pytest.raises(OSError):  # noqa: PT011 - refused, or reset
            socket.create_connection(("127.0.0.1", port), timeout=5)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_small_answers_are_sent_at_once():
    """asyncio switches off Nagle's algorithm where it is told TCP: 40 ms an answer else."""
    with _listening("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_other_mistakes(run, monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, message in (
            (["--port", port], f"Cannot listen at 127.0.0.1:{port}"),
            (["-k", "61"], "k=61 is not an integer from 1 to 60"),
            (["-k", "11", "--max-k", "10"], "k=11 is not an integer from 1 to 10"),
            (["--timeout", "0"], "timeout=0.0 is not a number in (0, inf)"),
            (["--seed", "1"], "--seed is about"),
            (["--explore", "temperature=1", "top=5"], "top=5 is not an integer from 10"),
        ):  # fmt: skip
            assert main(["serve", str(run), *words]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert message in line
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert main(["serve", str(run)]) == 2
    assert 'pip install "recsim-drpo[serve]"' in capsys.readouterr().err
