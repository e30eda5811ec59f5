"""Reads a topic from its start with Confluent's own client and prints what it decoded, one JSON object a line.

    read_deals.py BROKERS REGISTRY TOPIC COUNT

The last line tells what the registry says of the subjects of that topic.
"""

import base64
import datetime
import json
import sys
import uuid

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

SECONDS_MAX = 30


def plain(value):
    """The JSON that Go's encoding/json would write for the same value."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, datetime.date):
        return value.isoformat() + "T00:00:00Z"
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def read(brokers, registry, topic, count):
    decode = AvroDeserializer(registry)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "interop",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
        }
    )
    consumer.subscribe([topic])
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=SECONDS_MAX)
    try:
        while count > 0:
            if datetime.datetime.now() > deadline:
                sys.exit(f"{count} records of {topic} did not come within {SECONDS_MAX} s")
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error():
                sys.exit(f"reading {topic}: {message.error()}")
            event = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
            print(
                json.dumps(
                    {
                        "key": message.key().decode(),
                        "headers": {k: v.decode() for k, v in message.headers() or []},
                        "event": plain(event),
                    }
                )
            )
            count -= 1
    finally:
        consumer.close()


def ask(registry, topic):
    answers = {}
    for subject in registry.get_subjects():
        if not subject.startswith(topic + "-"):
            continue
        latest = registry.get_latest_version(subject)
        same = Schema(latest.schema.schema_str, "AVRO")
        answers[subject] = {
            "id": latest.schema_id,
            "version": latest.version,
            "again": registry.register_schema(subject, same),
            "level": registry.get_compatibility(subject),
            "reads_itself": registry.test_compatibility(subject, same),
            "reads_a_string": registry.test_compatibility(subject, Schema('"string"', "AVRO")),
        }
    print(json.dumps({"registry": answers}))


def main():
    brokers, url, topic, count = sys.argv[1:]
    registry = SchemaRegistryClient({"url": url})
    read(brokers, registry, topic, int(count))
    ask(registry, topic)


main()
