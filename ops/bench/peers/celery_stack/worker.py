"""Celery's worker: a pool of processes, each of which pays one command at a time."""

import os
from collections.abc import Callable
from typing import Any, Final

from celery import Celery, Task
from celery.signals import worker_process_init, worker_ready
from celery.worker.consumer import Consumer
from kombu import Queue
from sqlalchemy import Engine, create_engine

from ops.bench.peers.celery_stack.soap import Gateway
from ops.bench.peers.table import ANSWERED, INSERT, address, create

TASK: Final = "payouts.pay"
# One for each core is prefork's default, made for tasks that compute. These also wait for commits
# and for the gateway; meanwhile another one can use the core.
CHILDREN: Final = 2 * (os.cpu_count() or 1)
PREFETCH_EACH: Final = 16


class CommandConsumer(Consumer):
    """Takes plain JSON commands as if their publisher had called the task.

    Celery hands over only messages of its own format. The documented way around that is a
    bootstep that consumes the commands and publishes a task for each, which costs a second way
    through RabbitMQ. Framing a message where it arrives costs next to nothing, keeps its
    acknowledgement, and does Celery no wrong.
    """

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        """Returns Celery's own handler behind one that frames a command."""
        handle = super().create_task_handler(*arguments, **named)

        def take(message: Any) -> Any:
            message.headers = {"task": TASK, "id": message.properties.get("message_id")}
            message.body = b"[[" + bytes(message.body) + b"],{},{}]"
            message.content_encoding = "utf-8"
            return handle(message)

        return take


class PayoutTask(Task):
    """The task; each process of the pool has connections of its own, as none survive a fork."""

    name = TASK
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True
    engine: Engine
    gateway: Gateway

    def connect(self) -> None:
        """Opens what a process works with."""
        self.prefix = f"{os.environ['BENCH_SHORTCODE']}_{os.environ['BENCH_ORGANISATION']}_"
        self.engine = create_engine(
            address(os.environ["BENCH_DATABASE_URL"], "psycopg"), pool_size=1, max_overflow=0
        )
        self.gateway = Gateway()

    def run(self, command: dict[str, str]) -> None:
        """Pays a command, unless it is known: once this returns, the answer is written down."""
        originator = self.prefix + command["payout_id"]
        with self.engine.begin() as connection:
            if connection.execute(INSERT, {**command, "originator": originator}).rowcount == 0:
                return
        code, conversation_id = self.gateway.pay(originator, command["amount"], command["msisdn"])
        outcome = {
            "of": command["payout_id"],
            "to": "accepted" if code and not code.strip("0") else "refused",
            "conversation": conversation_id,
            "answer": code,
        }
        with self.engine.begin() as connection:
            connection.execute(ANSWERED, outcome)


def application() -> Celery:
    """Returns the application with its one task; says `ready` once it consumes."""
    app = Celery("payouts", broker=os.environ["BENCH_AMQP_URL"])
    # Commands are taken from a quorum queue that is there already.
    commands = Queue(
        os.environ["BENCH_QUEUE"], no_declare=True, queue_arguments={"x-queue-type": "quorum"}
    )
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        # For delayed tasks it declares 28 queues, whatever one does; quorum queues cost RabbitMQ
        # something even where, as here, nothing is delayed.
        broker_native_delayed_delivery_queue_type="classic",
        task_queues=[commands],
        worker_consumer=CommandConsumer,
        worker_prefetch_multiplier=PREFETCH_EACH,
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
    )
    task = app.register_task(PayoutTask())

    @worker_process_init.connect(weak=False)
    def connect(**_: Any) -> None:
        task.connect()

    @worker_ready.connect(weak=False)
    def announce(**_: Any) -> None:
        print("ready", flush=True)

    return app


def main() -> None:
    """Works until SIGTERM, without the talk between workers that nobody here listens to."""
    once = create_engine(address(os.environ["BENCH_DATABASE_URL"], "psycopg"))
    with once.begin() as connection:
        create(connection)
    once.dispose()
    application().worker_main(
        [
            *("--quiet", "worker", "--pool=prefork", f"--concurrency={CHILDREN}"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            "--loglevel=WARNING",
        ]
    )


if __name__ == "__main__":
    main()
