"""The service over HTTP: an ASGI application, and the server that runs it; the extra ``serve``.

Starlette routes requests, uvicorn runs them and stops gracefully, prometheus_client counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from recsim_drpo.core.messages import short_line, shown
from recsim_drpo.core.provenance import versions
from recsim_drpo.core.validation import check_integer, check_number
from recsim_drpo.serving.batching import Batches
from recsim_drpo.serving.online import Request, Service

_BACKLOG = 2_048
_MOST_SECONDS = 86_400.0
_LENGTH = re.compile("[0-9]{1,18}")
_MISTAKES = (ValueError, TypeError, OSError, RuntimeError, ImportError)


class _Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """A request that is answered by a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Metrics(NamedTuple):
    """What is counted, in a registry of its own."""

    registry: Any
    requests: Any
    seconds: Any
    contexts: Any
    together: Any
    waiting: Any
    loaded: Any

    @classmethod
    def make(cls, prometheus: ModuleType) -> _Metrics:
        """Counters at zero."""
        registry = prometheus.CollectorRegistry()
        return cls(
            registry,
            prometheus.Counter(
                "recsim_requests", "Requests by status.", ["status"], registry=registry
            ),
            prometheus.Histogram(
                "recsim_request_seconds",
                "Time of a request, from its first byte to its answer.",
                buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
                registry=registry,
            ),
            prometheus.Counter("recsim_contexts", "Contexts answered.", registry=registry),
            prometheus.Histogram(
                "recsim_batch_contexts",
                "Contexts that were calculated together.",
                buckets=tuple(2**power for power in range(11)),
                registry=registry,
            ),
            prometheus.Gauge("recsim_waiting", "Requests in progress.", registry=registry),
            prometheus.Gauge(
                "recsim_run_loaded_timestamp_seconds", "When the run was loaded.", registry=registry
            ),
        )


class _Handlers:
    """Answers by path."""

    def __init__(self, service: Service, prometheus: ModuleType) -> None:
        self._service, self._prometheus = service, prometheus
        self.metrics = _Metrics.make(prometheus)
        self._waiting = 0
        limits = service.limits
        self._batches: Batches[Request, dict[str, Any]] = Batches(
            self._calculated,
            lambda request: len(request.contexts),
            limits.max_batch,
            limits.batch_window,
        )
        self.stopping = False

    async def health(self, request: Any) -> tuple[int, Any]:
        return (503, {"status": "stopping"}) if self.stopping else (200, {"status": "ok"})

    async def version(self, request: Any) -> tuple[int, Any]:
        exploration = self._service.exploration
        told = None if exploration is None else vars(exploration)
        about = {**self._service.about, "exploration": told, "limits": vars(self._service.limits)}
        return 200, {**about, "versions": versions()}

    async def counted(self, request: Any) -> tuple[int, Any]:
        self.metrics.waiting.set(self._waiting)
        self.metrics.loaded.set(self._service.about["loaded_at"])
        return 200, self._prometheus.generate_latest(self.metrics.registry)

    async def reload(self, request: Any) -> tuple[int, Any]:
        try:
            return 200, await asyncio.to_thread(self._service.reload)
        except _MISTAKES as error:
            raise _Refused(409, f"The run before is served on: {error}") from error

    async def recommend(self, request: Any) -> tuple[int, Any]:
        limits = self._service.limits
        if self._waiting >= limits.max_waiting:
            raise _Refused(503, f"{self._waiting} requests are waiting; try again later.")
        started, parsed = time.perf_counter(), None
        self._waiting += 1
        try:
            async with asyncio.timeout(limits.timeout) as clock:
                parsed = self._service.parse(await self._body(request))
                turn = self._batches.enter(parsed)
                await turn.begun
                clock.reschedule(None)  # a calculation that has begun is ended; it is bounded
            answer = await turn.ended
            if isinstance(answer, Exception):
                raise answer
        except TimeoutError as error:
            if parsed is None:
                raise _Refused(408, f"The request took above {limits.timeout:g} s.") from error
            raise _Refused(503, f"There was no turn within {limits.timeout:g} s.") from error
        except ValueError as error:
            raise _Refused(400, short_line(str(error))) from error
        finally:
            self._waiting -= 1
            self.metrics.seconds.observe(time.perf_counter() - started)
        self.metrics.contexts.inc(len(parsed.contexts))
        return 200, answer

    def _calculated(self, requests: Sequence[Request]) -> list[dict[str, Any] | Exception]:
        """The answers to requests that wait together."""
        self.metrics.together.observe(sum(len(request.contexts) for request in requests))
        return self._service.answers(requests)

    async def _body(self, request: Any) -> bytes:
        most = self._service.limits.max_bytes
        length = request.headers.get("content-length") or "0"
        if not _LENGTH.fullmatch(length):
            raise _Refused(400, f"content-length={shown(length)} is no number of bytes.")
        parts, size = [], int(length)
        if size <= most:
            size = 0
            async for part in request.stream():
                size += len(part)
                if size > most:
                    break
                parts.append(part)
        if size > most:
            raise _Refused(413, f"The request is longer than {most} bytes.")
        return b"".join(parts)


def make_app(service: Service) -> Any:
    """The ASGI application of a service.

    ``POST /recommend`` and ``/reload``, ``GET /health``, ``/version`` and ``/metrics``; errors are
    JSON with ``error``. On Unix the signal SIGHUP reloads the run.

    Raises:
        ValueError: the extra ``serve`` is missing.
    """
    starlette, routing, responses, prometheus = _packages()
    handlers = _Handlers(service, prometheus)

    def as_response(status: int, content: Any) -> Any:
        handlers.metrics.requests.labels(str(status)).inc()
        if isinstance(content, bytes):
            return responses.Response(content, status, media_type="text/plain; version=0.0.4")
        text = json.dumps(content, ensure_ascii=False)
        return responses.Response(text, status, media_type="application/json")

    def endpoint(handler: Callable[[Any], Awaitable[tuple[int, Any]]]) -> Any:
        async def answer(request: Any) -> Any:
            try:
                return as_response(*await handler(request))
            except _Refused as refused:
                return as_response(refused.status, {"error": str(refused)})

        return answer

    async def no_such_path(request: Any, error: Any) -> Any:
        return as_response(error.status_code, {"error": error.detail})

    async def failed(request: Any, error: Exception) -> Any:  # which the server logs
        return as_response(500, {"error": "The request could not be answered."})

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(_reloaded(service)))
        yield
        handlers.stopping = True

    routes = [
        routing.Route("/recommend", endpoint(handlers.recommend), methods=["POST"]),
        routing.Route("/reload", endpoint(handlers.reload), methods=["POST"]),
        routing.Route("/health", endpoint(handlers.health), methods=["GET"]),
        routing.Route("/version", endpoint(handlers.version), methods=["GET"]),
        routing.Route("/metrics", endpoint(handlers.counted), methods=["GET"]),
    ]
    failures = {404: no_such_path, 405: no_such_path, 500: failed}
    return starlette.Starlette(routes=routes, lifespan=lifespan, exception_handlers=failures)


async def _reloaded(service: Service) -> None:
    try:
        await asyncio.to_thread(service.reload)
    except _MISTAKES as error:
        print(f"The run before is served on: {error}", file=sys.stderr)


def _packages() -> tuple[Any, Any, Any, Any]:
    try:
        import prometheus_client
        import starlette.applications
        import starlette.responses
        import starlette.routing
    except ImportError as error:
        raise ValueError('Serving needs pip install "recsim-drpo[serve]".') from error
    return starlette.applications, starlette.routing, starlette.responses, prometheus_client


def run_server(service: Service, host: str, port: int, *, grace: float = 10.0) -> None:
    """Serve until SIGINT or SIGTERM; then no connection is taken, and what has begun is answered.

    Args:
        service: what answers.
        host: address to listen at.
        port: likewise, 0 for any that is free.
        grace: seconds that requests have to end after the signal, at most a day.

    Raises:
        OSError: the address cannot be used.
        ValueError: the extra ``serve`` is missing; there is no such port.
    """
    check_integer("port", port, 0, 2**16 - 1)
    check_number("grace", grace, 0.0, _MOST_SECONDS)
    app = make_app(service)
    try:
        import uvicorn
    except ImportError as error:
        raise ValueError('Serving needs pip install "recsim-drpo[serve]".') from error
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    with contextlib.closing(_listening(host, port)) as listener:
        address = listener.getsockname()
        name = f"[{address[0]}]" if ":" in host else address[0]
        print(f"Serving at http://{name}:{address[1]}", file=sys.stderr, flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> Any:
    """A socket that listens; here, so that an address in use is an ``OSError``."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, as asyncio sends small answers at once (TCP_NODELAY) on such a socket alone.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise OSError(f"Cannot listen at {host}:{port} ({reason}).") from error
    return listener
