"""The same scenarios through each of the three Python clients, then what only one of them offers."""

import logging
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import harness
import scenarios
from client_aiokafka import AioKafka
from client_confluent import Confluent
from client_kafka_python import KafkaPython


logging.disable(logging.CRITICAL)  # what clients say while they try again
checks = harness.Checks()
for client in (Confluent, KafkaPython, AioKafka):
    adapter = client(os.environ["BOOTSTRAP"])
    try:
        for name, case in scenarios.all_of(adapter):
            full_name = f"{adapter.name}: {name}"
            if checks.only.search(full_name):
                with checks(full_name):
                    case()
    finally:
        adapter.close()
checks.finish()
