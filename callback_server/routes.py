"""Which path goes to which handler."""

from __future__ import annotations

from aiohttp import web

from callback_server.handlers import MAX_BODY_BYTES, Handlers


def application(handlers: Handlers, prefix: str) -> web.Application:
    """Return the aiohttp application that serves the callbacks under `prefix`."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_post(f"{prefix}/result", handlers.result)
    app.router.add_get(f"{prefix}/result", handlers.wsdl, allow_head=False)
    app.router.add_post(f"{prefix}/timeout", handlers.timeout)
    return app
