package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transactor writes in transactions; its methods return what its client says.
type transactor interface {
	begin() error
	send(topic string, partition int32, value string) error
	end(commit bool) error
	close()
}

// offsetTransactor can also commit a group's offset in its transactions, without being a member.
type offsetTransactor interface {
	sendOffset(group, topic string, partition int32, offset int64) error
}

type franzTransactor struct{ producer *kgo.Client }

func (f *franz) transactional(id string) transactor {
	return franzTransactor{must1(kgo.NewClient(
		kgo.SeedBrokers(f.bootstrap), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	))}
}

func (t franzTransactor) begin() error { return t.producer.BeginTransaction() }
func (t franzTransactor) send(topic string, partition int32, value string) error {
	return t.producer.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}).FirstErr()
}
func (t franzTransactor) end(commit bool) error {
	return t.producer.EndTransaction(context.Background(), kgo.TransactionEndTry(commit))
}
func (t franzTransactor) close() { t.producer.Close() }

type saramaTransactor struct{ producer sarama.SyncProducer }

func (s *saramaClient) transactional(id string) transactor {
	config := saramaConfig()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Transaction.ID = id
	config.Net.MaxOpenRequests = 1
	return saramaTransactor{must1(sarama.NewSyncProducer(s.bootstrap, config))}
}

func (t saramaTransactor) begin() error { return t.producer.BeginTxn() }
func (t saramaTransactor) send(topic string, partition int32, value string) error {
	_, _, err := t.producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(value)})
	return err
}
func (t saramaTransactor) end(commit bool) error {
	if commit {
		return t.producer.CommitTxn()
	}
	return t.producer.AbortTxn()
}
func (t saramaTransactor) sendOffset(group, topic string, partition int32, offset int64) error {
	offsets := map[string][]*sarama.PartitionOffsetMetadata{topic: {{Partition: partition, Offset: offset}}}
	return t.producer.AddOffsetsToTxn(offsets, group)
}

// A fenced producer has nothing left to say in good order.
func (t saramaTransactor) close() { _ = t.producer.Close() }

func valuesOf(records []record) []string {
	var all []string
	for _, r := range records {
		all = append(all, string(r.value))
	}
	return all
}

func runTransactions(suite *suite, c client) {
	run := func(name string, body func()) { suite.run(c.name()+": transactions: "+name, body) }

	run("committed and aborted ones", func() {
		name := freshTopic(c, 2, nil)
		producer := c.transactional("tx-" + name)
		defer producer.close()
		committed := map[int32][]string{}
		for round := 0; round <= 10; round++ { // the last one is committed: what is read does not end before it
			must(producer.begin())
			for partition := int32(0); partition < 2; partition++ {
				for i := 0; i < 3; i++ {
					value := fmt.Sprint("round ", round, " ", i)
					must(producer.send(name, partition, value))
					if round%2 == 0 {
						committed[partition] = append(committed[partition], value)
					}
				}
			}
			must(producer.end(round%2 == 0))
		}
		equal(valuesOf(c.readCommitted(name, 2, 36)), append(committed[0], committed[1]...), "what is committed")
		equal(len(c.read(name, 2, 66)), 66, "all records")
	})
	run("one that is open hides what follows it", func() {
		name := freshTopic(c, 1, nil)
		producer := c.transactional("tx-" + name)
		defer producer.close()
		must(c.produce(name, []record{{value: []byte("before"), timestampMs: startMs}}, "none", -1, false))
		must(producer.begin())
		must(producer.send(name, 0, "in it"))
		must(c.produce(name, []record{{value: []byte("beside"), timestampMs: startMs}}, "none", -1, false))
		equal(valuesOf(c.readCommitted(name, 1, 1)), []string{"before"}, "while it is open")
		must(producer.end(true))
		eventually(func() {
			equal(valuesOf(c.readCommitted(name, 1, 3)), []string{"before", "in it", "beside"}, "after its end")
		})
	})
	run("a second producer with the id fences the first", func() {
		name := freshTopic(c, 1, nil)
		first := c.transactional("tx-" + name)
		defer first.close()
		must(first.begin())
		must(first.send(name, 0, "first"))
		second := c.transactional("tx-" + name)
		defer second.close()
		must(second.begin())
		must(second.send(name, 0, "second"))
		err := first.send(name, 0, "late")
		if err == nil {
			err = first.end(true)
		}
		if err == nil || !strings.Contains(strings.ToLower(strings.ReplaceAll(err.Error(), "_", " ")), "epoch") && !strings.Contains(strings.ToLower(err.Error()), "fenced") {
			panic(fmt.Sprint("the first one failed with ", err))
		}
		must(second.end(true))
		equal(valuesOf(c.readCommitted(name, 1, 1)), []string{"second"}, "what is committed")
	})
	run("offsets are there with the commit, not with an abort", func() {
		name := freshTopic(c, 1, nil)
		group := "g-" + name
		producer := c.transactional("tx-" + name)
		defer producer.close()
		offsets, can := producer.(offsetTransactor)
		if !can { // franz-go commits offsets only as a member: see its sessions
			return
		}
		for _, offset := range []int64{5, 3} {
			must(producer.begin())
			must(producer.send(name, 0, "v"))
			must(offsets.sendOffset(group, name, 0, offset))
			must(producer.end(offset == 5))
		}
		eventually(func() { equal(c.groupOffsets(group, name), map[int32]int64{0: 5}, "committed") })
	})
}

// deadline bounds what would otherwise hang.
func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 60*time.Second)
}
