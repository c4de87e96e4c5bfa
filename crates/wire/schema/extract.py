#!/usr/bin/env python3
"""Writes rpc.tsv and records.tsv again, from the message definitions inside Apache Kafka's jars.

    extract.py DIRECTORY_OF_JARS

A definition names its fields, with the versions that have them; what it doesn't say is where a record that is neither a
coordinator's nor the metadata log's belongs: `PLACES` does.
"""

import json
import pathlib
import re
import sys
import zipfile

FIELD_COLUMNS = ["field", "type", "versions", "nullable_versions", "default", "tag", "ignorable"]
MESSAGE_COLUMNS = ["valid_versions", "flexible_versions"]

# Jars with stored records, and where these are stored.
JARS = {
    "clients": "",
    "group-coordinator": "__consumer_offsets",
    "metadata": "__cluster_metadata",
    "raft": "quorum-state file",
    "share-coordinator": "__share_group_state",
    "storage": "__remote_log_metadata",
    "transaction-coordinator": "__transaction_state",
}

# Where a record is stored, its kind and its type.
SENT = "sent, or inside other records"
CONTROL = "control batches"
PLACES = {
    "ConsumerProtocolAssignment": (SENT, "SyncGroup assignment", ""),
    "ConsumerProtocolSubscription": (SENT, "JoinGroup metadata", ""),
    "DefaultPrincipalData": (SENT, "Envelope principal", ""),
    "ControlRecordTypeSchema": (CONTROL, "control-key", ""),
    "EndTxnMarker": (CONTROL, "control-value", "0,1"),
    "LeaderChangeMessage": (CONTROL, "control-value", "2"),
    "SnapshotHeaderRecord": (CONTROL, "control-value", "3"),
    "SnapshotFooterRecord": (CONTROL, "control-value", "4"),
    "KRaftVersionRecord": (CONTROL, "control-value", "5"),
    "VotersRecord": (CONTROL, "control-value", "6"),
    "QuorumStateData": ("quorum-state file", "JSON", ""),
    "ProducerSnapshot": ("<offset>.snapshot file", "file", ""),
}

PRIMITIVE = {"bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "uuid", "string", "bytes", "records"}


def definitions(jars):
    """(jar, definition) of every message."""
    for jar in JARS:
        paths = list(pathlib.Path(jars).glob(f"kafka-{jar}-[0-9]*.jar"))
        if len(paths) != 1:
            sys.exit(f"{jars}: one kafka-{jar} jar is needed, there are {len(paths)}")
        with zipfile.ZipFile(paths[0]) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".json"):
                    text = re.sub(r"^\s*//.*$", "", archive.read(name).decode(), flags=re.MULTILINE)
                    definition = json.loads(text)
                    if "validVersions" in definition and definition["validVersions"] != "none":
                        yield jar, definition


def field_rows(fields, structs, prefix=""):
    for field in fields:
        is_array = field["type"].startswith("[]")
        element = field["type"].removeprefix("[]")
        path = prefix + field["name"] + ("[]" if is_array else "")
        kind = element if element in PRIMITIVE else "struct"
        yield [
            path,
            ("[]" if is_array else "") + kind,
            field.get("versions") or field["taggedVersions"],
            field.get("nullableVersions", ""),
            default(field),
            str(field.get("tag", "")),
            plain(field["ignorable"]) if "ignorable" in field else "",
        ]
        if kind == "struct":
            yield from field_rows(field.get("fields") or structs[element], structs, path + ".")


def default(field):
    """An explicit null is no "null": Kafka takes it for the type's own default."""
    if "default" not in field:
        return ""
    return '""' if field["default"] in (None, "") else plain(field["default"])


def plain(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def rows(definition):
    structs = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", [])}
    head = [definition["name"], definition["validVersions"], definition["flexibleVersions"]]
    fields = list(field_rows(definition["fields"], structs)) or [[""] * len(FIELD_COLUMNS)]
    return [head + field for field in fields]


def place(jar, definition):
    kind = {"metadata": "metadata", "storage": "remote-log-metadata"}.get(jar, definition["type"])
    return PLACES.get(definition["name"]) or (JARS[jar], kind, str(definition["apiKey"]))


def write(name, what, columns, table):
    lines = [f"# {what} of Apache Kafka 4.3.1, in wire order. See README.md.", "\t".join(columns)]
    text = "\n".join(lines + ["\t".join(row) for row in table]) + "\n"
    (pathlib.Path(__file__).parent / name).write_text(text)


def main(jars):
    rpc, stored = [], []
    for jar, definition in definitions(jars):
        if definition["type"] in ("request", "response"):
            rpc.append((definition["apiKey"], definition["name"], definition))
        elif definition["type"] != "header":
            order = (list(JARS).index(jar), definition.get("apiKey", -1), definition["name"])
            stored.append((order, jar, definition))
    messages = sorted(rpc, key=lambda message: message[:2])
    write(
        "rpc.tsv",
        "Every field of every request and response",
        ["api_key", "message"] + MESSAGE_COLUMNS + FIELD_COLUMNS,
        [[str(key)] + row for key, _, definition in messages for row in rows(definition)],
    )
    write(
        "records.tsv",
        "Every field of every stored record",
        ["stored_in", "kind", "type_id", "record"] + MESSAGE_COLUMNS + FIELD_COLUMNS,
        [
            list(place(jar, definition)) + row
            for _, jar, definition in sorted(stored, key=lambda record: record[0])
            for row in rows(definition)
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
