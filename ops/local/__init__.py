"""A private RabbitMQ and a private PostgreSQL for demo, tests and benchmarks."""

from ops.local.errors import LocalServerError, ServerNotFoundError
from ops.local.postgresql import PostgreSQL
from ops.local.rabbitmq import RabbitMQ
from ops.local.stack import LocalStack

__all__ = ["LocalServerError", "LocalStack", "PostgreSQL", "RabbitMQ", "ServerNotFoundError"]
