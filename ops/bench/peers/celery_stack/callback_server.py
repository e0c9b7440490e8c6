"""The callback server beside Celery's worker: Flask under gunicorn with threads.

The rest of such a stack is synchronous, so its users stay with WSGI. gunicorn's threads keep
connections alive and wait together for commits and confirms.
"""

import json
import os
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from kombu import Connection, Exchange, pools
from sqlalchemy import create_engine

from ops.bench.bare.wire import ACKNOWLEDGEMENT
from ops.bench.peers.results import event_of, result_of
from ops.bench.peers.table import ENDED, address, create

THREADS: Final = 16
WORKERS: Final = 1
BODY_LIMIT: Final = 256 * 1024


def application() -> Flask:
    """Returns the server's one route; made after the fork, as connections do not survive it."""
    engine = create_engine(
        address(os.environ["BENCH_DATABASE_URL"], "psycopg"), pool_size=THREADS, max_overflow=0
    )
    with engine.begin() as connection:
        create(connection)
    rabbitmq = Connection(os.environ["BENCH_AMQP_URL"], transport_options={"confirm_publish": True})
    pools.set_limit(THREADS)
    events = Exchange(os.environ["BENCH_EVENTS_EXCHANGE"], type="topic", no_declare=True)
    app = Flask("payouts")
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT

    @app.post(urlsplit(os.environ["BENCH_RESULT_URL"]).path)
    def take() -> Response:
        result = result_of(request.get_data(cache=False))
        with engine.begin() as connection:
            payout = connection.execute(ENDED, result.row()).one_or_none()
        if payout is not None:
            event_id, now = str(uuid4()), datetime.now(UTC)
            with pools.producers[rabbitmq].acquire(block=True) as producer:
                producer.publish(
                    json.dumps(event_of(result, payout, event_id=event_id, now=now)),
                    exchange=events,
                    routing_key=result.kind,
                    mandatory=True,
                    delivery_mode="persistent",
                    content_type="application/cloudevents+json",
                    content_encoding="utf-8",
                    message_id=event_id,
                    correlation_id=payout[0],
                    type=result.kind,
                    timestamp=int(now.timestamp()),
                )
        return Response(ACKNOWLEDGEMENT, content_type="text/xml")

    return app


class Server(BaseApplication):
    """gunicorn, started from here instead of its command line."""

    def load_config(self) -> None:
        """Says what would stand on the command line."""
        host, port = os.environ["BENCH_CALLBACK_HOST"], os.environ["BENCH_CALLBACK_PORT"]
        options: dict[str, Any] = {
            "bind": f"{host}:{port}",
            "workers": WORKERS,
            "worker_class": "gthread",
            "threads": THREADS,
            "keepalive": 75,
            "loglevel": "warning",
            # It would leave a socket in the home folder of whoever measures.
            "control_socket_disable": True,
            "post_worker_init": lambda _: print("ready", flush=True),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Returns the application, in each process."""
        return application()


if __name__ == "__main__":
    Server().run()
