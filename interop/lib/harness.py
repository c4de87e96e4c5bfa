"""Fresh brokers for the suites, and the way in which suites say what held.

A broker is Ottla or Apache Kafka, by the environment variable BROKER (ottla, kafka): both get the same server.properties, so a suite
that passes against Apache Kafka is right, and one that fails against Ottla shows a difference.
"""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

INTEROP = pathlib.Path(__file__).resolve().parent.parent
ROOT = INTEROP.parent
KAFKA = ROOT / "tools" / "kafka" / "kafka"
OTTLA = pathlib.Path(os.environ.get("OTTLA", ROOT / "target" / "release" / "ottla"))
# Of Apache Kafka's JVM: starting soon matters more here than running fast. None leaves them to the runner.
KAFKA_BROKER_OPTIONS = "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"
START_TIMEOUT_S = 240  # recovery on a disk that others keep busy
STOP_TIMEOUT_S = 120

# What a suite would otherwise wait for.
QUICK = {"group.initial.rebalance.delay.ms": "0"}


def free_port():
    """A port that is free together with the next one (the controller's); INTEROP_PORTS=FIRST-LAST bounds the choice."""
    first, last = map(int, os.environ.get("INTEROP_PORTS", "21000-29999").split("-"))
    candidates = list(range(first, last, 2))
    random.shuffle(candidates)
    for port in candidates:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for p in (port, port + 1):
                s = stack.enter_context(socket.socket())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", p))
            return port
    sys.exit(f"harness: no two neighbouring ports are free in {first}-{last}")


class Broker:
    """One node that keeps everything in `directory`; may be started again on it, also as the other kind."""

    def __init__(self, directory, settings=None, kind=None, port=None):
        self.directory = pathlib.Path(directory)
        self.kind = kind or os.environ.get("BROKER", "ottla")
        self.port = port or free_port()
        self.settings = QUICK | (settings or {})
        self.pid = None
        self.process = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    @property
    def data(self):
        return self.directory / "data"

    @property
    def properties(self):
        return self.directory / "server.properties"

    @property
    def log(self):
        return self.directory / ("broker.log" if self.kind == "kafka" else "ottla.log")

    def write_properties(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = [f"{key}={value}" for key, value in self.settings.items()]
        subprocess.run([KAFKA, "properties", self.directory, str(self.port), *settings], check=True)

    def start(self, kind=None):
        """Starts it and returns when it serves."""
        self.kind = kind or self.kind
        if not self.properties.exists():
            self.write_properties()
        start = self._start_kafka if self.kind == "kafka" else self._start_ottla
        start()
        return self

    def _start_kafka(self):
        environment = os.environ | ({"KAFKA_JAVA_OPTS": KAFKA_BROKER_OPTIONS} if KAFKA_BROKER_OPTIONS else {})
        done = subprocess.run([KAFKA, "start", self.directory, str(self.port)], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"Apache Kafka did not start:\n{done.stderr}")
        self.pid = int(done.stdout)

    def _start_ottla(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([OTTLA, "--config", self.properties], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if answers(self.port):
                return
            time.sleep(0.005)
        raise RuntimeError(f"Ottla did not start:\n{tail(self.log)}")

    def stop(self):
        """Ends it in good order. Complains if it is gone already or takes too long."""
        self._end(signal.SIGTERM)

    def kill(self):
        """Ends it as a crash of the process would."""
        self._end(signal.SIGKILL)

    def _end(self, how):
        pid, self.pid = self.pid, None
        if pid is None:
            return
        os.kill(pid, how)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        # The first thread of a killed process may be gone while the others still hold its sockets.
        while alive(pid, self.process) or listening(self.port):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                raise RuntimeError(f"the {self.kind} broker did not end within {STOP_TIMEOUT_S} s:\n{tail(self.log)}")
            time.sleep(0.02)
        code = self.process.returncode if self.process else 0
        self.process = None
        if how == signal.SIGTERM and code not in (0, -signal.SIGTERM):
            raise RuntimeError(f"the {self.kind} broker ended with {code}:\n{tail(self.log)}")


def listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def answers(port):
    """Whether a node serves there: its port is bound before its logs are open, and whoever connects by then waits."""
    api_versions = struct.pack(">ihhih", 10, 18, 0, 1, -1)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S) as client:
        client.sendall(api_versions)
        return client.recv(4) != b""
    return False


def alive(pid, process):
    if process:
        return process.poll() is None
    # Not a child of this process: one that has ended may stay as a zombie until its parent asks for it.
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def tail(path, lines=25):
    with contextlib.suppress(OSError):
        return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])
    return f"({path} can't be read)"


@contextlib.contextmanager
def scratch(name):
    """A temporary directory; INTEROP_KEEP=1 keeps it and says where it is."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"ottla-{name}-"))
    try:
        yield directory
    finally:
        if os.environ.get("INTEROP_KEEP"):
            print(f"kept {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def running(directory, settings=None, kind=None):
    """A broker that is stopped at the end, whatever happens in between."""
    broker = Broker(directory, settings, kind)
    try:
        yield broker.start()
    except BaseException:
        print(f"the end of {broker.log}:\n{tail(broker.log)}", file=sys.stderr)
        raise
    finally:
        broker.stop()


class Checks:
    """Numbers what was checked, goes on after a failure, and sums up: the last line is `N passed, N failed`."""

    def __init__(self, only=None):
        self.passed = self.failed = 0
        self.only = re.compile(only or os.environ.get("ONLY", ""))

    @contextlib.contextmanager
    def __call__(self, name):
        number = self.passed + self.failed + 1
        started = time.monotonic()
        try:
            yield
        except Exception as error:  # a failed check must not hide the ones after it
            self.failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL {number} {name}\n     {type(error).__name__}: {error} ({pathlib.Path(where.filename).name}:{where.lineno})", flush=True)
        else:
            self.passed += 1
            took = time.monotonic() - started
            print(f"ok {number} {name}" + (f" ({took:.1f} s)" if took >= 1 else ""), flush=True)

    def run(self, cases):
        """Runs functions `case()` named by their docstring; ONLY=REGEX selects some."""
        for case in cases:
            name = (case.__doc__ or case.__name__).strip()
            if self.only.search(name):
                with self(name):
                    case()

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def equal(actual, expected, what=""):
    assert actual == expected, f"{what + ': ' if what else ''}{shorten(actual)} is not {shorten(expected)}"


def contains(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} is missing in {shorten(text)}"


def matches(text, *patterns):
    for pattern in patterns:
        assert re.search(pattern, text, re.MULTILINE), f"{pattern!r} is not matched by {shorten(text)}"


def shorten(value, limit=1500):
    text = repr(value) if not isinstance(value, str) else value
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"


def eventually(probe, timeout_s=60, pause_s=0.1):
    """Repeats `probe` until it raises no AssertionError any more; its last one counts."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return probe()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause_s)
