// kafkajs against the broker at BOOTSTRAP: every codec that it has, large records, groups, offsets, transactions, administration.
"use strict";

process.env.KAFKAJS_NO_PARTITIONER_WARNING = "1";
const assert = require("node:assert/strict");
const { Kafka, AssignerProtocol, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require("kafkajs");
CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");

const kafka = new Kafka({
  clientId: "interop",
  brokers: [process.env.BOOTSTRAP],
  logLevel: logLevel.NOTHING,
  connectionTimeout: 60_000,
  requestTimeout: 60_000,
  retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 60 },
});
const admin = kafka.admin();
const PATIENCE_MS = 60_000;
const START_MS = Date.now() - 3_600_000; // within any retention
let names = 0;

async function topic(prefix, numPartitions, configs = {}) {
  const name = `${prefix}-${names++}`;
  const configEntries = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
  await admin.createTopics({ topics: [{ topic: name, numPartitions, configEntries }] });
  await eventually(() => admin.fetchTopicOffsets(name).catch((error) => assert.fail(error)));
  return name;
}

async function eventually(check) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (!(error instanceof assert.AssertionError) || Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function send(name, messages, options = {}) {
  const { idempotent = false, ...rest } = options;
  const producer = kafka.producer({ idempotent, maxInFlightRequests: idempotent ? 1 : undefined });
  await producer.connect();
  try {
    return await producer.send({ topic: name, messages, ...rest });
  } finally {
    await producer.disconnect();
  }
}

/** Nobody is given up because the machine is busy. */
const PATIENT = { sessionTimeout: 60_000, heartbeatInterval: 200, rebalanceTimeout: 60_000 };

/** A member of a group that remembers what it got and which partitions it owns. */
async function member(groupId, name, options = {}) {
  const consumer = kafka.consumer({ groupId, ...PATIENT, maxWaitTimeInMs: 100, ...options });
  const self = { records: [], owned: [], consumer, stop: () => consumer.disconnect() };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => (self.owned = payload.memberAssignment[name] ?? []));
  await consumer.connect();
  await consumer.subscribe({ topic: name, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => void self.records.push({ partition, ...message }),
  });
  return self;
}

/** Reads what is committed, or all with readUncommitted, from the beginning, which must be so many records. */
async function read(name, count, options = {}) {
  const reader = await member(`read-${name}-${names++}`, name, options);
  try {
    await eventually(() => assert.equal(reader.records.length, count));
    return reader.records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  } finally {
    await reader.stop();
  }
}

async function shares(count, ...members) {
  await eventually(() => {
    assert.deepEqual(members.flatMap((m) => m.owned).sort((a, b) => a - b), [...Array(count).keys()]);
    assert(members.every((m) => m.owned.length > 0));
  });
}

const keys = (members) => new Set(members.flatMap((m) => m.records.map((r) => `${r.partition}@${r.offset}`)));
const cases = new Map();

for (const [codec, compression] of Object.entries({ none: 0, gzip: 1, snappy: 2 })) {
  for (const acks of [0, 1, -1]) {
    cases.set(`kafkajs: ${codec}, acks ${acks}`, async () => {
      const name = await topic("js", 2);
      const sent = [...Array(300).keys()].map((i) => ({
        partition: i % 2,
        key: `k${i}`,
        value: `value ${i} `.repeat(i % 20),
        headers: { h: `${i}`, twice: ["a", "b"] },
        timestamp: String(START_MS + i),
      }));
      const answers = await send(name, sent, { compression, acks });
      if (acks) assert.equal(answers.length, 2);
      const got = await read(name, sent.length);
      got.forEach((record, i) => {
        const expected = sent[(i % 150) * 2 + record.partition];
        assert.equal(record.key.toString(), expected.key);
        assert.equal(record.value.toString(), expected.value);
        assert.equal(record.timestamp, expected.timestamp);
        assert.deepEqual([record.headers.h.toString(), String(record.headers.twice)], [expected.headers.h, "a,b"]);
      });
    });
  }
  cases.set(`kafkajs: ${codec}, records of 900 kB`, async () => {
    const name = await topic("js-big", 1);
    const values = [...Array(3).keys()].map((i) => Buffer.alloc(900_000, `some text ${i}`));
    for (const value of values) await send(name, [{ value }], { compression });
    const got = await read(name, values.length);
    got.forEach((record, i) => assert(record.value.equals(values[i])));
  });
}

cases.set("kafkajs: idempotent producer", async () => {
  const name = await topic("js-idem", 1);
  for (let i = 0; i < 5; i++) await send(name, [{ value: `${i}` }, { value: `${i}` }], { idempotent: true });
  assert.equal((await read(name, 10)).length, 10);
});

cases.set("kafkajs: null and empty values", async () => {
  const name = await topic("js-null", 1);
  await send(name, [{ key: "k", value: null }, { key: null, value: "" }]);
  const [first, second] = await read(name, 2);
  assert.equal(first.value, null);
  assert.equal(second.key, null);
  assert.equal(second.value.length, 0);
});

cases.set("kafkajs: a record above max.message.bytes", async () => {
  const name = await topic("js-large", 1, { "max.message.bytes": "1000" });
  await assert.rejects(send(name, [{ value: "x".repeat(5000) }]), { type: "MESSAGE_TOO_LARGE" });
});

cases.set("kafkajs: a group of two members, one joins and leaves", async () => {
  const name = await topic("js-group", 4);
  const group = `g-${name}`;
  const batch = () => send(name, [...Array(100).keys()].map((i) => ({ partition: i % 4, value: `${i}` })));
  await batch();
  const first = await member(group, name);
  await shares(4, first);
  await eventually(() => assert.equal(keys([first]).size, 100));
  const second = await member(group, name);
  await shares(4, first, second);
  await batch();
  await eventually(() => assert.equal(keys([first, second]).size, 200));
  await second.stop();
  await shares(4, first);
  await batch();
  await eventually(() => assert.equal(keys([first, second]).size, 300));
  await eventually(async () => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [name] });
    assert.deepEqual(partitions.map((p) => p.offset), ["75", "75", "75", "75"]);
  });
  await first.stop();
});

cases.set("kafkajs: a group goes on from what was committed, and seeks", async () => {
  const name = await topic("js-commit", 1);
  const group = `g-${name}`;
  await send(name, [...Array(10).keys()].map((i) => ({ value: `${i}` })));
  const first = await member(group, name);
  await eventually(() => assert.equal(first.records.length, 10));
  await first.stop();
  await send(name, [{ value: "10" }]);
  const second = await member(group, name);
  await eventually(() => assert.deepEqual(second.records.map((r) => r.value.toString()), ["10"]));
  second.consumer.seek({ topic: name, partition: 0, offset: "8" });
  await eventually(() => assert.deepEqual(second.records.slice(1).map((r) => r.value.toString()), ["8", "9", "10"]));
  await second.stop();
});

cases.set("kafkajs: members join and leave one by one", async () => {
  const name = await topic("js-crowd", 6);
  const group = `g-${name}`;
  const crowd = [];
  for (let i = 0; i < 3; i++) {
    crowd.push(await member(group, name));
    await shares(6, ...crowd);
  }
  assert.deepEqual(crowd.map((m) => m.owned.length), [2, 2, 2]);
  for (let left = 3; left > 1; left--) {
    await crowd.shift().stop();
    await shares(6, ...crowd);
  }
  await crowd[0].stop();
});

/** Gives each member as many partitions as it weighs, which it tells with its subscription; the leader's answer says what it saw. */
const byWeight = (weight, seen) => ({ cluster }) => ({
  name: "ByWeight",
  version: 1,
  protocol: ({ topics }) => ({
    name: "ByWeight",
    metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.from(`${weight}`) }),
  }),
  async assign({ members, topics }) {
    const all = topics.flatMap((t) => cluster.findTopicPartitionMetadata(t).map(({ partitionId }) => [t, partitionId]));
    const told = members.map(({ memberId, memberMetadata }) => ({
      memberId,
      weight: Number(AssignerProtocol.MemberMetadata.decode(memberMetadata).userData.toString()),
    }));
    seen.push(told.map((m) => m.weight).sort());
    return told.map(({ memberId, weight }) => {
      const assignment = {};
      for (const [t, partition] of all.splice(0, weight)) (assignment[t] ??= []).push(partition);
      return { memberId, memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 1, assignment, userData: Buffer.from("weighed") }) };
    });
  },
});

cases.set("kafkajs: an assigner of one's own sees the members' user data", async () => {
  const name = await topic("js-weight", 4);
  const seen = [];
  const light = await member(`g-${name}`, name, { partitionAssigners: [byWeight(1, seen)] });
  const heavy = await member(`g-${name}`, name, { partitionAssigners: [byWeight(3, seen)] });
  await shares(4, light, heavy);
  assert.deepEqual([light.owned.length, heavy.owned.length], [1, 3]);
  assert.deepEqual(seen.at(-1), [1, 3]);
  await heavy.stop();
  await light.stop();
});

async function transactional(id) {
  const producer = kafka.producer({ transactionalId: id, idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  return producer;
}

cases.set("kafkajs: transactions: committed and aborted ones", async () => {
  const name = await topic("js-tx", 2);
  const producer = await transactional(name);
  const expected = [];
  for (let round = 0; round <= 8; round++) {
    const transaction = await producer.transaction();
    const messages = [...Array(6).keys()].map((i) => ({ partition: i % 2, value: `round ${round} ${i}` }));
    await transaction.send({ topic: name, messages: messages.slice(0, 3) });
    await transaction.send({ topic: name, messages: messages.slice(3) });
    if (round % 2 === 0) {
      await transaction.commit();
      expected.push(...messages);
    } else {
      await transaction.abort();
    }
  }
  await producer.disconnect();
  const committed = await read(name, expected.length);
  assert.deepEqual(committed.map((r) => r.value.toString()).sort(), expected.map((m) => m.value).sort());
  await read(name, 54, { readUncommitted: true });
});

cases.set("kafkajs: transactions: a second producer with the id fences the first", async () => {
  const name = await topic("js-tx-fence", 1);
  const first = await transactional(name);
  const open = await first.transaction();
  await open.send({ topic: name, messages: [{ value: "first" }] });
  const second = await transactional(name);
  const transaction = await second.transaction();
  await transaction.send({ topic: name, messages: [{ value: "second" }] });
  const late = async () => {
    await open.send({ topic: name, messages: [{ value: "late" }] });
    await open.commit();
  };
  await assert.rejects(late(), (error) => /FENCED|EPOCH/.test(error.type ?? error.cause?.type));
  await transaction.commit();
  const records = await read(name, 1);
  assert.equal(records[0].value.toString(), "second");
  await first.disconnect();
  await second.disconnect();
});

cases.set("kafkajs: transactions: offsets go with what was made of the records", async () => {
  const [from, to] = [await topic("js-tx-from", 1), await topic("js-tx-to", 1)];
  const group = `g-${from}`;
  await send(from, [...Array(20).keys()].map((i) => ({ value: `${i}` })));
  const producer = await transactional(from);
  let rounds = 0;
  const consumer = kafka.consumer({ groupId: group, ...PATIENT, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic: from, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset }) => {
      const records = batch.messages.slice(0, 6);
      const transaction = await producer.transaction();
      await transaction.send({ topic: to, messages: records.map(({ value }) => ({ value })) });
      const next = String(Number(records.at(-1).offset) + 1);
      await transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic: from, partitions: [{ partition: 0, offset: next }] }] });
      if (rounds++ % 2 === 0) {
        await transaction.abort();
        consumer.seek({ topic: from, partition: 0, offset: records[0].offset });
      } else {
        await transaction.commit();
        resolveOffset(records.at(-1).offset);
      }
    },
  });
  await eventually(async () => assert.equal((await admin.fetchOffsets({ groupId: group, topics: [from] }))[0].partitions[0].offset, "20"));
  await consumer.disconnect();
  await producer.disconnect();
  const written = await read(to, 20);
  assert.deepEqual(written.map((r) => Number(r.value.toString())), [...Array(20).keys()]);
});

cases.set("kafkajs: topics are administered", async () => {
  const name = await topic("js-admin", 2, { "retention.ms": "123456" });
  assert((await admin.listTopics()).includes(name));
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] });
  await eventually(async () => assert.equal((await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length, 4));
  const resource = { type: ConfigResourceTypes.TOPIC, name };
  const retention = async () =>
    (await admin.describeConfigs({ resources: [resource] })).resources[0].configEntries.find((e) => e.configName === "retention.ms").configValue;
  assert.equal(await retention(), "123456");
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: "retention.ms", value: "654321" }] }] });
  await eventually(async () => assert.equal(await retention(), "654321"));
  await send(name, [...Array(6).keys()].map((i) => ({ partition: 0, value: "v", timestamp: String(START_MS + i) })));
  const byTime = await admin.fetchTopicOffsetsByTimestamp(name, START_MS + 3);
  assert.equal(byTime.find((p) => p.partition === 0).offset, "3");
  await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: "4" }] });
  const bounds = (await admin.fetchTopicOffsets(name)).find((p) => p.partition === 0);
  assert.deepEqual([bounds.low, bounds.high], ["4", "6"]);
  await admin.deleteTopics({ topics: [name] });
  await eventually(async () => assert(!(await admin.listTopics()).includes(name)));
});

cases.set("kafkajs: groups and the cluster are administered", async () => {
  const name = await topic("js-groups", 1);
  const group = `g-${name}`;
  await send(name, [{ value: "v" }, { value: "w" }]);
  const live = await member(group, name);
  await eventually(() => assert.equal(live.records.length, 2));
  const described = async () => (await admin.describeGroups([group])).groups[0];
  await eventually(async () => assert.equal((await described()).state, "Stable"));
  assert.equal((await described()).members.length, 1);
  await live.stop();
  await eventually(async () => assert.equal((await described()).state, "Empty"));
  await admin.resetOffsets({ groupId: group, topic: name, earliest: true });
  await admin.setOffsets({ groupId: group, topic: name, partitions: [{ partition: 0, offset: "1" }] });
  assert.equal((await admin.fetchOffsets({ groupId: group, topics: [name] }))[0].partitions[0].offset, "1");
  assert((await admin.listGroups()).groups.some((g) => g.groupId === group));
  await admin.deleteGroups([group]);
  assert(!(await admin.listGroups()).groups.some((g) => g.groupId === group));
  const cluster = await admin.describeCluster();
  assert.deepEqual(cluster.brokers.map((b) => b.nodeId), [1]);
  assert.equal(cluster.clusterId.length, 22);
});

(async () => {
  const only = new RegExp(process.env.ONLY ?? "");
  let passed = 0;
  let failed = 0;
  await admin.connect();
  for (const [name, body] of cases) {
    if (!only.test(name)) continue;
    const started = Date.now();
    try {
      await body();
      passed++;
      const took = (Date.now() - started) / 1000;
      console.log(`ok ${passed + failed} ${name}${took >= 1 ? ` (${took.toFixed(1)} s)` : ""}`);
    } catch (error) {
      failed++;
      const where = /main\.js:\d+/.exec(error.stack ?? "")?.[0];
      console.log(`FAIL ${passed + failed} ${name}\n     ${String(error.message ?? error).replaceAll("\n", " ").slice(0, 600)} (${where})`);
    }
  }
  await admin.disconnect();
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed || !passed ? 1 : 0);
})();
