#!/bin/sh
# Runs Golden.java with Apache Kafka 4.3.1's libraries: see README.md.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for jar in org/apache/kafka/kafka-clients/4.3.1/kafka-clients-4.3.1 at/yawk/lz4/lz4-java/1.10.2/lz4-java-1.10.2 \
    org/xerial/snappy/snappy-java/1.1.10.7/snappy-java-1.1.10.7 com/github/luben/zstd-jni/1.5.6-10/zstd-jni-1.5.6-10 \
    org/slf4j/slf4j-api/1.7.36/slf4j-api-1.7.36; do
    curl -fsS -o "$work/$(basename "$jar").jar" "https://repo1.maven.org/maven2/$jar.jar"
done
javac -d "$work" -cp "$work/*" Golden.java
case "${1:-}" in
write) java -cp "$work:$work/*" Golden write . ;;
check)
    cargo run --quiet --package ottla-record --example write_batches -- "$work/batches"
    java -cp "$work:$work/*" Golden check "$work/batches"
    ;;
*) echo "usage: golden.sh write|check" >&2; exit 2 ;;
esac
