"""The admin port of each process: alive, ready, metrics. Not for the public network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SHUTDOWN_S: Final = 1.0

Ready = Callable[[], Mapping[str, bool]]


class AdminServer:
    """Serves `/health/live`, `/health/ready` and `/metrics` (contract.md §3).

    Args:
        host: bind address.
        port: 0 takes any free one; `port` then tells which.
        ready: what must hold for this process to do its work, by name; must not block.
        told: what is told beside it, without deciding whether the process is ready.
        metrics: what `/metrics` shows.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ready: Ready,
        metrics: Callable[[], bytes],
        told: Ready = dict,
    ) -> None:
        self._host = host
        self._wanted_port = port
        self._ready = ready
        self._told = told
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port that is bound; 0 while not started."""
        addresses = self._runner.addresses if self._runner is not None else []
        return int(addresses[0][1]) if addresses else 0

    async def start(self) -> None:
        """Begin to serve.

        Raises:
            OSError: the port is taken.
        """
        application = web.Application()
        application.router.add_get("/health/live", self._live)
        application.router.add_get("/health/ready", self._tell_ready)
        application.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._wanted_port)
        await site.start()

    async def close(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _live(self, _: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _tell_ready(self, _: web.Request) -> web.Response:
        checks = dict(self._ready())
        ready = all(checks.values())
        said = {"ready": ready, "checks": {**checks, **self._told()}}
        return web.json_response(said, status=200 if ready else 503)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": METRICS_TYPE})
