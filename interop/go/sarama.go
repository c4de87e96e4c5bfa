package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct {
	bootstrap []string
	kafka     sarama.Client
	admin     sarama.ClusterAdmin
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.MaxMessageBytes = 1_000_000
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	config.Consumer.Group.Session.Timeout = time.Minute
	config.Admin.Timeout = time.Minute
	config.Producer.Transaction.Retry.Max = 600 // of 100 ms
	return config
}

func newSarama(bootstrap string) client {
	kafka := must1(sarama.NewClient([]string{bootstrap}, saramaConfig()))
	return &saramaClient{[]string{bootstrap}, kafka, must1(sarama.NewClusterAdminFromClient(kafka))}
}

func (s *saramaClient) name() string        { return "sarama" }
func (s *saramaClient) codecs() []string    { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }
func (s *saramaClient) assignors() []string { return []string{"range", "roundrobin", "sticky"} }
func (s *saramaClient) close()              { must(s.admin.Close()) }

func (s *saramaClient) create(topic string, partitions int32, configs map[string]string) {
	entries := map[string]*string{}
	for key, value := range configs {
		entries[key] = &value
	}
	must(s.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}, false))
}

func (s *saramaClient) grow(topic string, partitions int32) {
	must(s.admin.CreatePartitions(topic, partitions, nil, false))
}

func (s *saramaClient) deleteTopic(topic string) { must(s.admin.DeleteTopic(topic)) }

func (s *saramaClient) topics() map[string]int {
	found := map[string]int{}
	for name, detail := range must1(s.admin.ListTopics()) {
		found[name] = int(detail.NumPartitions)
	}
	return found
}

func (s *saramaClient) config(topic, key string) string {
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{key}}
	return must1(s.admin.DescribeConfig(resource))[0].Value
}

func (s *saramaClient) setConfig(topic, key, value string) {
	change := map[string]sarama.IncrementalAlterConfigsEntry{key: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}
	must(s.admin.IncrementalAlterConfig(sarama.TopicResource, topic, change, false))
}

func (s *saramaClient) deleteRecords(topic string, partition int32, before int64) {
	must(s.kafka.RefreshMetadata(topic))
	must(s.admin.DeleteRecords(topic, map[int32]int64{partition: before}))
}

func (s *saramaClient) bounds(topic string, partition int32) (int64, int64) {
	must(s.kafka.RefreshMetadata(topic))
	return must1(s.kafka.GetOffset(topic, partition, sarama.OffsetOldest)), must1(s.kafka.GetOffset(topic, partition, sarama.OffsetNewest))
}

func (s *saramaClient) offsetForTime(topic string, partition int32, timestampMs int64) int64 {
	return must1(s.kafka.GetOffset(topic, partition, timestampMs))
}

func (s *saramaClient) groupState(group string) (string, int) {
	described := must1(s.admin.DescribeConsumerGroups([]string{group}))[0]
	if described.Err == sarama.ErrGroupIDNotFound {
		return "Dead", 0
	}
	if described.Err != sarama.ErrNoError {
		panic(described.Err)
	}
	return described.State, len(described.Members)
}

func (s *saramaClient) groupOffsets(group, topic string) map[int32]int64 {
	found := map[int32]int64{}
	for partition, block := range must1(s.admin.ListConsumerGroupOffsets(group, nil)).Blocks[topic] {
		found[partition] = block.Offset
	}
	return found
}

func (s *saramaClient) deleteGroup(group string) { must(s.admin.DeleteConsumerGroup(group)) }

func (s *saramaClient) produce(topic string, records []record, codec string, acks int, idempotent bool) error {
	config := saramaConfig()
	must(config.Producer.Compression.UnmarshalText([]byte(codec)))
	config.Producer.RequiredAcks = sarama.RequiredAcks(acks)
	config.Producer.Idempotent = idempotent
	if idempotent {
		config.Net.MaxOpenRequests = 1
	}
	producer := must1(sarama.NewSyncProducer(s.bootstrap, config))
	defer func() { must(producer.Close()) }()
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: r.partition, Timestamp: time.UnixMilli(r.timestampMs)}
		if r.key != nil {
			message.Key = sarama.ByteEncoder(r.key)
		}
		if r.value != nil {
			message.Value = sarama.ByteEncoder(r.value)
		}
		if r.header != "" {
			message.Headers = []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(r.header)}}
		}
		messages = append(messages, message)
	}
	err := producer.SendMessages(messages)
	if failed, ok := err.(sarama.ProducerErrors); ok {
		return failed[0].Err
	}
	return err
}

func (s *saramaClient) read(topic string, partitions int32, count int) []record {
	return s.readAs(sarama.ReadUncommitted, topic, partitions, count)
}

func (s *saramaClient) readCommitted(topic string, partitions int32, count int) []record {
	return s.readAs(sarama.ReadCommitted, topic, partitions, count)
}

func (s *saramaClient) readAs(isolation sarama.IsolationLevel, topic string, partitions int32, count int) []record {
	config := saramaConfig()
	config.Consumer.IsolationLevel = isolation
	consumer := must1(sarama.NewConsumer(s.bootstrap, config))
	defer func() { must(consumer.Close()) }()
	messages := make(chan *sarama.ConsumerMessage, 1000)
	var readers sync.WaitGroup
	var all []sarama.PartitionConsumer
	for p := int32(0); p < partitions; p++ {
		one := must1(consumer.ConsumePartition(topic, p, sarama.OffsetOldest))
		all = append(all, one)
		readers.Add(1)
		go func() {
			defer readers.Done()
			for message := range one.Messages() {
				messages <- message
			}
		}()
	}
	var records []record
	patience := time.After(60 * time.Second)
	for len(records) < count {
		select {
		case m := <-messages:
			got := record{m.Partition, m.Offset, m.Key, m.Value, "", m.Timestamp.UnixMilli()}
			if len(m.Headers) > 0 {
				got.header = string(m.Headers[0].Value)
			}
			records = append(records, got)
			continue
		case <-patience:
		}
		break
	}
	for _, one := range all {
		one.AsyncClose()
	}
	readers.Wait()
	return sorted(records)
}

// groupHandler reports to a tracker.
type groupHandler struct {
	topic   string
	tracker *tracker
}

func (h groupHandler) Setup(session sarama.ConsumerGroupSession) error {
	h.tracker.own(session.Claims()[h.topic], true)
	return nil
}

func (h groupHandler) Cleanup(session sarama.ConsumerGroupSession) error {
	h.tracker.own(session.Claims()[h.topic], false)
	return nil
}

func (h groupHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		h.tracker.got(message.Partition, message.Offset)
		session.MarkMessage(message, "")
	}
	return nil
}

func (s *saramaClient) join(group, topic, assignor, instance string, t *tracker) func() {
	config := saramaConfig()
	config.Consumer.Group.InstanceId = instance
	config.Consumer.Offsets.AutoCommit.Interval = 50 * time.Millisecond
	strategy := map[string]sarama.BalanceStrategy{
		"": sarama.NewBalanceStrategyRange(), "range": sarama.NewBalanceStrategyRange(),
		"roundrobin": sarama.NewBalanceStrategyRoundRobin(), "sticky": sarama.NewBalanceStrategySticky(),
	}[assignor]
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	member := must1(sarama.NewConsumerGroup(s.bootstrap, group, config))
	ending, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for ending.Err() == nil {
			if err := member.Consume(ending, []string{topic}, groupHandler{topic, t}); err != nil && !strings.Contains(err.Error(), "closed") {
				t.fail(err)
				return
			}
		}
	}()
	return func() {
		cancel()
		done.Wait()
		must(member.Close())
	}
}
