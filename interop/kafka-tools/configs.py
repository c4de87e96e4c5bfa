"""Settings."""

from harness import contains, equal, eventually, matches
from subject import case, fails, lacks, like_expected, scratch_file, tools, topic


def configs(*options):
    return tools("kafka-configs", *options)


@case
def topic_configs():
    """configs: a topic's settings, set and deleted"""
    topic("c-topic")
    one = ["--entity-type", "topics", "--entity-name", "c-topic"]
    configs(*one, "--alter", "--add-config", "segment.bytes=1048577,cleanup.policy=[compact,delete]")
    expected = [
        "Dynamic configs for topic c-topic are:",
        "cleanup.policy=compact,delete sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}",
        "segment.bytes=1048577 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:segment.bytes=1048577, DEFAULT_CONFIG:log.segment.bytes=1073741824}",
    ]
    eventually(lambda: contains(configs(*one, "--describe").out, *expected))
    configs("--topic", "c-topic", "--alter", "--delete-config", "segment.bytes")
    out = eventually(lambda: lacks(configs(*one, "--describe").out, "segment.bytes"))
    contains(out, "cleanup.policy=compact,delete")


@case
def topic_configs_from_file():
    """configs: settings from a file"""
    topic("c-file")
    path = scratch_file("topic.properties", "retention.ms=123456\nmax.message.bytes=2000000\n")
    configs("--topic", "c-file", "--alter", "--add-config-file", path)
    eventually(lambda: contains(configs("--topic", "c-file", "--describe").out, "retention.ms=123456", "max.message.bytes=2000000"))


@case
def all_topic_configs():
    """configs: all settings of a topic as Apache Kafka shows them"""
    topic("c-all")
    like_expected("topic-configs.txt", configs("--topic", "c-all", "--describe", "--all").out)


@case
def refused_topic_configs():
    """configs: wrong settings of a topic are refused and change nothing"""
    topic("c-bad")
    for setting, reason in [
        ("x.y=1", "Unknown topic config name: x.y"),
        ("retention.ms=-5", "Invalid value -5 for configuration retention.ms: Value must be at least -1"),
        ("segment.bytes=ten", "Invalid value ten for configuration segment.bytes: Not a number of type INT"),
        ("min.cleanable.dirty.ratio=1.5", "Value must be no more than 1"),
        ("compression.type=brotli", "compression.type"),
    ]:
        fails(tools.run("kafka-configs", "--topic", "c-bad", "--alter", "--add-config", setting), reason)
    equal(configs("--topic", "c-bad", "--describe").out.count("="), 0)
    fails(tools.run("kafka-configs", "--topic", "c-nope", "--alter", "--add-config", "retention.ms=1"), "does not exist")


@case
def broker_configs():
    """configs: one broker's settings, set and deleted"""
    one = ["--entity-type", "brokers", "--entity-name", "1"]
    configs(*one, "--alter", "--add-config", "log.cleaner.threads=2")
    expected = "log.cleaner.threads=2 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DEFAULT_CONFIG:log.cleaner.threads=1}"
    eventually(lambda: contains(configs(*one, "--describe").out, expected))
    configs(*one, "--alter", "--delete-config", "log.cleaner.threads")
    eventually(lambda: lacks(configs(*one, "--describe").out, "log.cleaner.threads"))


@case
def cluster_configs():
    """configs: the cluster's default reaches topics, until it is deleted"""
    topic("c-default")
    everywhere = ["--entity-type", "brokers", "--entity-default"]
    configs(*everywhere, "--alter", "--add-config", "log.retention.ms=7777777")
    expected = "log.retention.ms=7777777 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=7777777}"
    eventually(lambda: contains(configs(*everywhere, "--describe").out, expected))
    out = eventually(lambda: has(configs("--topic", "c-default", "--describe", "--all").out, "retention.ms=7777777"))
    contains(out, "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=7777777")
    configs("--broker-defaults", "--alter", "--delete-config", "log.retention.ms")
    eventually(lambda: has(configs("--topic", "c-default", "--describe", "--all").out, "retention.ms=604800000"))


def has(text, part):
    contains(text, part)
    return text



@case
def all_broker_configs():
    """configs: all settings of a broker as Apache Kafka shows them"""
    like_expected("broker-configs.txt", configs("--broker", "1", "--describe", "--all").out)


@case
def refused_broker_configs():
    """configs: settings that only a restart can change are refused"""
    for setting, reason in [
        ("log.dirs=/x", "Cannot update these configs dynamically"),
        ("num.partitions=3", "Cannot update these configs dynamically"),
        ("log.cleaner.threads=none", "log.cleaner.threads"),
    ]:
        fails(tools.run("kafka-configs", "--broker", "1", "--alter", "--add-config", setting), reason)


@case
def broker_loggers():
    """configs: a broker's loggers are described, and changed while it runs"""
    matches(configs("--broker-logger", "1", "--describe").out, r"^  \S+=(TRACE|DEBUG|INFO|WARN|ERROR)")
    configs("--broker-logger", "1", "--alter", "--add-config", "root=WARN")
    matches(configs("--broker-logger", "1", "--describe").out, r"^  root=WARN")
    configs("--broker-logger", "1", "--alter", "--add-config", "root=INFO")
    unknown = ("--broker-logger", "1", "--alter", "--add-config", "no.such.logger=INFO")
    fails(tools.run("kafka-configs", *unknown), "Invalid broker logger(s): no.such.logger")
