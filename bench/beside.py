"""What bench/run, bench/coordinators and bench/cluster share: loads, brokers side by side, in turn within each round, and tables of medians with ratios."""

import contextlib
import datetime
import mmap
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "interop" / "lib"))
import harness
from harness import KAFKA

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def as_in_earnest():
    """Brokers as they are run in earnest, rather than as the suites want them."""
    harness.KAFKA_BROKER_OPTIONS = None  # the runner's defaults
    harness.STOP_TIMEOUT_S = 300  # Apache Kafka takes more than a minute to close 10,000 partitions


@contextlib.contextmanager
def running(directory, kinds, settings=None):
    """A fresh broker of each kind, with the same settings."""
    brokers = [harness.Broker(directory / kind, settings, kind=kind) for kind in kinds]
    try:
        for broker in brokers:
            broker.start()
        yield brokers
    finally:
        for broker in brokers:
            broker.stop()


def rounds(brokers, count, measure):
    """The figures of `measure(broker, number)` of `count` rounds, by kind. Every broker has its turn within each round, so that a
    drifting machine hits all alike. Before them comes round 0, which a JVM needs to warm up and which is not counted."""
    runs = {broker.kind: [] for broker in brokers}
    for number in range(count + 1):
        for broker in brokers:
            figures = measure(broker, number)
            if number > 0:
                runs[broker.kind].append(figures)
    return runs


def medians(runs):
    return {kind: {key: statistics.median(run[key] for run in of) for key in of[0]} for kind, of in runs.items()}


def tool(bootstrap, name, *arguments):
    command = [KAFKA, name, "--bootstrap-server", bootstrap, *map(str, arguments)]
    # The generators get the JVM that a user gets, not the short-lived settings of interop.
    environment = os.environ | {"KAFKA_JAVA_OPTS": "-Xmx512m"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def produce(bootstrap, topic, records, size, settings):
    load = ["--topic", topic, "--num-records", records, "--record-size", size, "--throughput", -1]
    out = tool(bootstrap, "kafka-producer-perf-test", *load, "--command-property", *settings)
    last = [line for line in out.splitlines() if "99th" in line][-1]
    number = lambda pattern: float(re.search(pattern, last)[1])
    # The tool's MB are 2^20 bytes.
    return {"MB/s": number(r"\(([\d.]+) MB/sec\)") * 1.048576, "p50 ms": number(r"([\d.]+) ms 50th"), "p99 ms": number(r"([\d.]+) ms 99th")}


def warm_memory(data_bytes):
    """Touches as much memory as one run takes, page cache and tools, and frees it at once. A virtual machine hands free memory back to
    its host, and whoever touches it first pays for getting it again: up to 2 s/GB here, far more than any broker costs."""
    available = int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) * 1024
    size = min(data_bytes + 4 * 2**30, available // 2)
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mb(pid, which):
    """VmRSS: resident now; VmHWM: at most so far."""
    return int(re.search(rf"{which}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def conditions(command, rounds, base="Apache Kafka 4.3.1"):
    """The lines above a table."""
    machine = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return [
        f"Measured {datetime.date.today()} with `{command}` on {os.cpu_count()} cores ({machine}),",
        f"clients and broker on the same machine. Medians of {rounds} rounds; in brackets the ratio to {base}.",
        "",
    ]


def ratio(value, base):
    return f" ({value / base:.2f}x)" if base else ""


def rows(title, medians, columns, base="kafka"):
    """A table's row for each kind: `title` is what was measured, `columns` which figures are shown, `base` whose figures the others are divided by."""
    of_base = medians.get(base, {})
    for kind, median in medians.items():
        cells = [f"{median[key]:.2f}{ratio(median[key], of_base.get(key)) if kind != base else ''}" if key in median else "" for key in columns]
        yield kind, f"| {title} | {kind} | " + " | ".join(cells) + " |"
