"""What the suites need of Apache Kafka beyond its broker, tools and clients, from Maven Central."""

import os
import pathlib
import subprocess
import sys
import tempfile


def jar(name):
    """The jar of an artifact of Apache Kafka, named with its version; fetched once."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "ottla"
    jar = cache / name / f"{name}.jar"
    if not jar.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as partial:
            artifact, version = name.rsplit("-", 1)
            goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
            options = [f"-Dartifact=org.apache.kafka:{artifact}:{version}", f"-DoutputDirectory={partial}"]
            subprocess.run(["mvn", "--quiet", "--batch-mode", goal, *options], check=True, cwd=partial, stdout=sys.stderr)
            jar.parent.mkdir(exist_ok=True)
            (pathlib.Path(partial) / jar.name).rename(jar)
    return jar
