"""RabbitMQ, by aio-pika only here: topology, codec, consumer, publishers."""

from payouts.messaging.codec import decode_command, encode_command, encode_event
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.consumer import CommandConsumer, Source
from payouts.messaging.delivery import Delivery
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.messaging.publisher import CommandPublisher, ConfirmedPublisher, DeadLetters
from payouts.messaging.stream import CommandStream, Outgoing
from payouts.messaging.topology import Topology

__all__ = [
    "AmqpEventPublisher",
    "BrokerConnection",
    "CommandConsumer",
    "CommandPublisher",
    "CommandStream",
    "ConfirmedPublisher",
    "DeadLetters",
    "Delivery",
    "Outgoing",
    "Source",
    "Topology",
    "decode_command",
    "encode_command",
    "encode_event",
]
