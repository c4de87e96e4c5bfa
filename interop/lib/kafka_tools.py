"""Apache Kafka's command-line tools, many in one JVM."""

import dataclasses
import functools
import json
import subprocess

from harness import INTEROP, KAFKA, shorten

TOOL_TIMEOUT_S = 180
SERVER_AFTER_SUBCOMMAND = {"kafka-cluster"}


@dataclasses.dataclass
class Outcome:
    status: int
    out: str
    err: str

    @property
    def text(self):
        return self.out + self.err

    @property
    def lines(self):
        return self.out.splitlines()


@functools.cache
def class_of(tool):
    done = subprocess.run([KAFKA, "class", tool], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Tools:
    """A JVM that runs tools one after the other. Two at a time need two of them."""

    def __init__(self, bootstrap=None, log=None):
        self.bootstrap = bootstrap
        self.jvm = subprocess.Popen(
            [KAFKA, "java", INTEROP / "lib" / "Tools.java"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log or subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.jvm.stdin.close()
        self.jvm.wait(120)

    def begin(self, tool, *arguments, stdin="", timeout_s=TOOL_TIMEOUT_S):
        """Starts a tool; `end` waits for it."""
        server = ["--bootstrap-server", self.bootstrap] if self.bootstrap else []
        after = tool in SERVER_AFTER_SUBCOMMAND
        arguments = [*arguments, *server] if after else [*server, *arguments]
        request = {
            "class": class_of(tool),
            "args": list(map(str, arguments)),
            "stdin": stdin,
            "timeout_ms": timeout_s * 1000,
        }
        self.jvm.stdin.write(json.dumps(request) + "\n")
        self.jvm.stdin.flush()

    def end(self):
        line = self.jvm.stdout.readline()
        if not line:
            raise RuntimeError(f"the JVM of the tools ended with {self.jvm.wait()}")
        return Outcome(**json.loads(line))

    def run(self, tool, *arguments, **options):
        """Runs a tool against the broker and returns whatever came of it."""
        self.begin(tool, *arguments, **options)
        return self.end()

    def __call__(self, tool, *arguments, **options):
        """Runs a tool that must succeed."""
        outcome = self.run(tool, *arguments, **options)
        assert outcome.status == 0, f"{tool} {' '.join(map(str, arguments))} ended with {outcome.status}: {shorten(outcome.text)}"
        return outcome

    def alone(self, tool, *arguments, stdin=""):
        """Runs a tool that must succeed in a JVM of its own: for those that leave work to the JVM's shutdown hooks."""
        command = [KAFKA, tool, "--bootstrap-server", self.bootstrap, *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S)
        assert done.returncode == 0, f"{tool} ended with {done.returncode}: {shorten(done.stdout + done.stderr)}"
        return Outcome(done.returncode, done.stdout, done.stderr)

    def local(self, tool, *arguments, **options):
        """Runs a tool that works on files, so without a bootstrap address; it must succeed."""
        bootstrap, self.bootstrap = self.bootstrap, None
        try:
            return self(tool, *arguments, **options)
        finally:
            self.bootstrap = bootstrap
