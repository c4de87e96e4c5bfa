package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct {
	bootstrap  string
	kafka      *kgo.Client
	admin      *kadm.Client
	background context.Context
}

func newFranz(bootstrap string) client {
	kafka := must1(kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.MetadataMinAge(50*time.Millisecond)))
	return &franz{bootstrap, kafka, kadm.NewClient(kafka), context.Background()}
}

func (f *franz) name() string     { return "franz-go" }
func (f *franz) codecs() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }
func (f *franz) assignors() []string {
	return []string{"range", "roundrobin", "sticky", "cooperative-sticky", "the broker's range", "the broker's uniform"}
}
func (f *franz) close() { f.kafka.Close() }

func (f *franz) create(topic string, partitions int32, configs map[string]string) {
	settings := map[string]*string{}
	for key, value := range configs {
		settings[key] = kadm.StringPtr(value)
	}
	must1(f.admin.CreateTopic(f.background, partitions, 1, settings, topic))
}

func (f *franz) grow(topic string, partitions int32) {
	must(must1(f.admin.UpdatePartitions(f.background, int(partitions), topic)).Error())
}

func (f *franz) deleteTopic(topic string) {
	must1(f.admin.DeleteTopic(f.background, topic))
}

func (f *franz) topics() map[string]int {
	found := map[string]int{}
	for name, detail := range must1(f.admin.ListTopics(f.background)) {
		found[name] = len(detail.Partitions)
	}
	return found
}

func (f *franz) config(topic, key string) string {
	resource := must1(must1(f.admin.DescribeTopicConfigs(f.background, topic)).On(topic, nil))
	must(resource.Err)
	for _, config := range resource.Configs {
		if config.Key == key {
			return config.MaybeValue()
		}
	}
	panic("no config " + key)
}

func (f *franz) setConfig(topic, key, value string) {
	change := kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: kadm.StringPtr(value)}
	for _, answer := range must1(f.admin.AlterTopicConfigs(f.background, []kadm.AlterConfig{change}, topic)) {
		must(answer.Err)
	}
}

func (f *franz) deleteRecords(topic string, partition int32, before int64) {
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, before, -1)
	must(must1(f.admin.DeleteRecords(f.background, offsets)).Error())
}

func (f *franz) bounds(topic string, partition int32) (int64, int64) {
	offset := func(listed kadm.ListedOffsets, err error) int64 {
		must(err)
		found, _ := listed.Lookup(topic, partition)
		must(found.Err)
		return found.Offset
	}
	return offset(f.admin.ListStartOffsets(f.background, topic)), offset(f.admin.ListEndOffsets(f.background, topic))
}

func (f *franz) offsetForTime(topic string, partition int32, timestampMs int64) int64 {
	found, _ := must1(f.admin.ListOffsetsAfterMilli(f.background, timestampMs, topic)).Lookup(topic, partition)
	must(found.Err)
	return found.Offset
}

func (f *franz) groupState(group string) (string, int) {
	described := must1(f.admin.DescribeGroups(f.background, group))[group]
	if errors.Is(described.Err, kerr.GroupIDNotFound) {
		return "Dead", 0
	}
	must(described.Err)
	return described.State, len(described.Members)
}

func (f *franz) groupOffsets(group, topic string) map[int32]int64 {
	found := map[int32]int64{}
	for partition, offset := range must1(f.admin.FetchOffsets(f.background, group))[topic] {
		found[partition] = offset.At
	}
	return found
}

func (f *franz) deleteGroup(group string) {
	must(must1(f.admin.DeleteGroup(f.background, group)).Err)
}

func (f *franz) produce(topic string, records []record, codec string, acks int, idempotent bool) error {
	compression := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[codec]
	required := map[int]kgo.Acks{0: kgo.NoAck(), 1: kgo.LeaderAck(), -1: kgo.AllISRAcks()}[acks]
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.ProducerBatchCompression(compression), kgo.RequiredAcks(required),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(1_000_012), kgo.ProducerLinger(5 * time.Millisecond),
	}
	if !idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer := must1(kgo.NewClient(options...))
	defer producer.Close()
	var batch []*kgo.Record
	for _, r := range records {
		sent := &kgo.Record{Topic: topic, Partition: r.partition, Key: r.key, Value: r.value, Timestamp: time.UnixMilli(r.timestampMs)}
		if r.header != "" {
			sent.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte(r.header)}}
		}
		batch = append(batch, sent)
	}
	return producer.ProduceSync(f.background, batch...).FirstErr()
}

func (f *franz) read(topic string, partitions int32, count int) []record {
	return f.readAs(kgo.ReadUncommitted(), topic, partitions, count)
}

func (f *franz) readCommitted(topic string, partitions int32, count int) []record {
	return f.readAs(kgo.ReadCommitted(), topic, partitions, count)
}

func (f *franz) readAs(isolation kgo.IsolationLevel, topic string, partitions int32, count int) []record {
	offsets := map[int32]kgo.Offset{}
	for p := int32(0); p < partitions; p++ {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	consumer := must1(kgo.NewClient(
		kgo.SeedBrokers(f.bootstrap), kgo.FetchIsolationLevel(isolation), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
	))
	defer consumer.Close()
	patience, cancel := context.WithTimeout(f.background, 60*time.Second)
	defer cancel()
	var records []record
	for len(records) < count && patience.Err() == nil {
		fetches := consumer.PollFetches(patience)
		if err := fetches.Err(); err != nil && patience.Err() == nil {
			panic(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got := record{r.Partition, r.Offset, r.Key, r.Value, "", r.Timestamp.UnixMilli()}
			if len(r.Headers) > 0 {
				got.header = string(r.Headers[0].Value)
			}
			records = append(records, got)
		})
	}
	return sorted(records)
}

// balancing names an assignor; those of the broker are for the consumer protocol (KIP-848).
func balancing(assignor string) []kgo.Opt {
	if ofBroker, found := strings.CutPrefix(assignor, "the broker's "); found {
		balancer := map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "uniform": kgo.StickyBalancer()}[ofBroker]
		return []kgo.Opt{kgo.Balancers(balancer), kgo.ServerSideBalancer()}
	}
	balancer := map[string]kgo.GroupBalancer{
		"": kgo.CooperativeStickyBalancer(), "range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
		"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}[assignor]
	return []kgo.Opt{kgo.Balancers(balancer)}
}

func (f *franz) join(group, topic, assignor, instance string, t *tracker) func() {
	owns := func(yes bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, member *kgo.Client, partitions map[string][]int32) {
			if !yes {
				if err := member.CommitUncommittedOffsets(f.background); err != nil {
					t.fail(err)
				}
			}
			t.own(partitions[topic], yes)
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200 * time.Millisecond), kgo.SessionTimeout(time.Minute),
		kgo.OnPartitionsAssigned(owns(true)), kgo.OnPartitionsRevoked(owns(false)), kgo.DisableAutoCommit(),
	}
	options = append(options, balancing(assignor)...)
	if instance != "" {
		options = append(options, kgo.InstanceID(instance))
	}
	member := must1(kgo.NewClient(options...))
	ending, cancel := context.WithCancel(f.background)
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for ending.Err() == nil {
			fetches := member.PollFetches(ending)
			fetches.EachRecord(func(r *kgo.Record) { t.got(r.Partition, r.Offset) })
			err := member.CommitUncommittedOffsets(f.background)
			if err != nil && !errors.Is(err, kerr.RebalanceInProgress) && !errors.Is(err, kerr.StaleMemberEpoch) {
				t.fail(err)
			}
			member.AllowRebalance()
		}
	}()
	return func() {
		cancel()
		done.Wait()
		member.CloseAllowingRebalance()
	}
}
