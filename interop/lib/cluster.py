"""Several nodes of one kind that make one cluster, each broker and controller.

What a node knows of a topic is asked of that node alone, by hand: a client of Kafka's would ask whichever node it likes.
"""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import threading

import harness
from harness import KAFKA, OTTLA, Broker, eventually

CLUSTER_ID = "b3R0bGEtaW50ZXJvcC0wMQ"
METADATA = 3
# The last version whose strings and arrays have lengths of fixed size and whose answer has no offline replicas.
METADATA_VERSION = 4


class Node(Broker):
    """One of several; it must have been formatted before it starts."""

    def __init__(self, home, number, port, settings):
        super().__init__(home / str(number), port=port)
        self.number = number
        self.settings = {
            "process.roles": "broker,controller",
            "node.id": number,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.data,
            **self.settings,
            **settings,
        }

    @property
    def controller(self):
        return f"127.0.0.1:{self.port + 1}"

    @property
    def directory_id(self):
        return re.search(r"^directory\.id=(\S+)", (self.data / "meta.properties").read_text(), re.MULTILINE)[1]

    def write_properties(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))

    def format(self, *options):
        self.write_properties()
        if self.kind == "kafka":
            command = [KAFKA, "format", self.directory, "--cluster-id", CLUSTER_ID, *options]
        else:
            command = [OTTLA, "storage", "format", "--config", self.properties, "--cluster-id", CLUSTER_ID, *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{self.kind} did not format: {done.stdout}{done.stderr}"

    @property
    def is_up(self):
        return self.pid is not None

    def pause(self):
        """Has the process stand still."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def brokers(self):
        """Those that this node knows to serve."""
        return self._metadata([])[0]

    def topic(self, name):
        """What this node knows: (leader, replicas, in-sync replicas in order of their ids) by partition; none if it knows no such topic."""
        return self._metadata([name])[1].get(name)

    def _metadata(self, topics):
        names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
        request = struct.pack(">hhihi", METADATA, METADATA_VERSION, 1, -1, len(topics)) + names + b"\0"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as server:
                server.sendall(struct.pack(">i", len(request)) + request)
                stream = server.makefile("rb")
                answer = Answer(stream.read(struct.unpack(">i", stream.read(4))[0]))
        except (OSError, struct.error) as error:
            raise AssertionError(f"node {self.number} does not answer: {error}") from error
        answer.number("i"), answer.number("i")  # the correlation, and for how long to wait
        brokers = answer.array(lambda: (answer.number("i"), answer.text(), answer.number("i"), answer.text())[0])
        answer.text(), answer.number("i")  # the cluster, and the controller
        found = answer.array(lambda: (answer.number("h"), answer.text(), answer.number("b"), dict(sorted(answer.array(answer.partition)))))
        return sorted(brokers), {name: partitions for code, name, _, partitions in found if code == 0}


class Answer:
    """The fields of a response, one after the other."""

    def __init__(self, octets):
        self.octets = octets
        self.position = 0

    def number(self, kind):
        (value,) = struct.unpack_from(">" + kind, self.octets, self.position)
        self.position += struct.calcsize(">" + kind)
        return value

    def text(self):
        length = max(self.number("h"), 0)
        self.position += length
        return self.octets[self.position - length : self.position].decode()

    def array(self, element):
        return [element() for _ in range(self.number("i"))]

    def partition(self):
        _, index, leader = self.number("h"), self.number("i"), self.number("i")
        replicas, in_sync = self.array(lambda: self.number("i")), self.array(lambda: self.number("i"))
        return index, (leader, replicas, sorted(in_sync))


class Cluster:
    """Nodes by their numbers, from 1."""

    def __init__(self, home, settings, size=3):
        ports = []
        while len(ports) < size:
            port = harness.free_port()
            if port not in ports:
                ports.append(port)
        voters = ",".join(f"{number}@127.0.0.1:{port + 1}" for number, port in enumerate(ports, 1))
        settings = {"controller.quorum.voters": voters, **settings}
        self.nodes = {number: Node(home, number, port, settings) for number, port in enumerate(ports, 1)}

    def __getitem__(self, number):
        return self.nodes[number]

    @property
    def up(self):
        return [node for node in self.nodes.values() if node.is_up]

    @property
    def bootstrap(self):
        return ",".join(node.bootstrap for node in self.nodes.values())

    def start(self):
        for node in self.nodes.values():
            node.format()
        self.begin(*self.nodes)
        return self

    def begin(self, *numbers):
        """Starts nodes at the same time, and waits until all of them serve."""
        failures = []

        def start(node):
            try:
                node.start()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=start, args=(self.nodes[number],)) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def knows(self, topic, partitions, numbers=None):
        """Waits until nodes, all that are up, know a topic so: {partition: (leader, replicas, in-sync replicas)}, where None stands for whatever it is."""

        def check(node):
            actual = node.topic(topic)
            assert actual is not None and set(actual) == set(partitions), f"node {node.number}: {topic} is {actual}"
            for index, expected in partitions.items():
                like = tuple(told if wanted is not None else None for told, wanted in zip(actual[index], expected))
                harness.equal(like, expected, f"node {node.number}, {topic}-{index}")

        for node in [self[number] for number in numbers] if numbers else self.up:
            eventually(lambda node=node: check(node), timeout_s=120, pause_s=0.05)

    def forget(self, topic, numbers):
        """Waits until nodes know no such topic any more."""
        for number in numbers:
            eventually(lambda number=number: harness.equal(self[number].topic(topic), None), timeout_s=120, pause_s=0.05)

    def know_brokers(self, *numbers, of=None):
        """Waits until nodes, all that are up, know that these brokers serve, and no others."""
        for node in [self[number] for number in of] if of else self.up:
            eventually(lambda node=node: harness.equal(node.brokers(), sorted(numbers), f"node {node.number}"), timeout_s=120, pause_s=0.05)

    def whole(self):
        """Starts the nodes that are down, and waits until all know all."""
        self.begin(*(number for number, node in self.nodes.items() if not node.is_up))
        self.know_brokers(*self.nodes)

    def end(self):
        for node in self.up:
            with contextlib.suppress(Exception):
                node.kill()


@contextlib.contextmanager
def running(home, settings, size=3):
    """A cluster that serves, and whose processes end with this."""
    cluster = Cluster(home, settings, size)
    try:
        yield cluster.start()
    finally:
        cluster.end()
