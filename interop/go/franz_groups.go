package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transform takes records of one topic to another, both in the same transactions, until it is told to end. Every third try to commit is an abort.
func (f *franz) transform(ending context.Context, group, from, to, id, assignor string) error {
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(from), kgo.TransactionalID(id), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.SessionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}
	session, err := kgo.NewGroupTransactSession(append(options, balancing(assignor)...)...)
	if err != nil {
		return err
	}
	defer session.Close()
	for round := 0; ending.Err() == nil; round++ {
		fetches := session.PollRecords(ending, 7)
		if ending.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		if err := session.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(context.Background(), &kgo.Record{Topic: to, Partition: r.Partition, Value: r.Value}, nil)
		})
		if _, err := session.End(context.Background(), kgo.TransactionEndTry(round%3 != 2)); err != nil {
			return err
		}
	}
	return nil
}

func runSessions(suite *suite, f *franz) {
	for _, assignor := range []string{"cooperative-sticky", "range", "the broker's uniform"} {
		suite.run("franz-go: transactions: consumed, transformed and produced exactly once by members that come and go: "+assignor, func() {
			from, to := freshTopic(f, 4, nil), freshTopic(f, 4, nil)
			group := "g-" + from
			must(f.produce(from, values(4, 0, 200), "none", -1, true))
			var sessions sync.WaitGroup
			failures := make(chan error, 3)
			start := func(number int) context.CancelFunc {
				ending, end := context.WithCancel(context.Background())
				sessions.Add(1)
				go func() {
					defer sessions.Done()
					if err := f.transform(ending, group, from, to, fmt.Sprint("tx-", from, "-", number), assignor); err != nil {
						failures <- err
					}
				}()
				return end
			}
			done := func() (sum int64) {
				for _, offset := range f.groupOffsets(group, from) {
					sum += max(offset, 0)
				}
				return sum
			}
			waitForDone := func(atLeast int64) {
				eventually(func() {
					select {
					case err := <-failures:
						panic(err)
					default:
					}
					if sum := done(); sum < atLeast {
						panic(fmt.Sprint("only ", sum, " are done"))
					}
				})
			}
			endFirst := start(1)
			defer sessions.Wait()
			defer endFirst()
			waitForDone(20)
			endSecond := start(2)
			defer endSecond()
			waitForDone(100)
			must(f.produce(from, values(4, 200, 400), "none", -1, true))
			endFirst()
			endThird := start(3)
			defer endThird()
			waitForDone(400)
			written := f.readCommitted(to, 4, 400)
			equal(len(written), 400, "records")
			seen := map[string]bool{}
			for _, r := range written {
				seen[string(r.value)] = true
			}
			equal(len(seen), 400, "different ones")
		})
	}
}

// setGroupConfig sets what holds for one group.
func (f *franz) setGroupConfig(group, key, value string) {
	const groups = kmsg.ConfigResourceType(32)
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value, config.Op = key, &value, kmsg.IncrementalAlterConfigOpSet
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = groups, group
	resource.Configs = append(resource.Configs, config)
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	answer := must1(request.RequestWith(f.background, f.kafka))
	equal(answer.Resources[0].ErrorCode, 0, "error")
	// The controller has it; the broker learns of it in its own time.
	asked := kmsg.NewDescribeConfigsRequestResource()
	asked.ResourceType, asked.ResourceName, asked.ConfigNames = groups, group, []string{key}
	question := kmsg.NewPtrDescribeConfigsRequest()
	question.Resources = append(question.Resources, asked)
	eventually(func() {
		described := must1(question.RequestWith(f.background, f.kafka)).Resources[0]
		equal(len(described.Configs) == 1 && *described.Configs[0].Value == value, true, key+" is "+value)
	})
}

func (f *franz) shareMember(group, topic string) *kgo.Client {
	return must1(kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.ShareGroup(group), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(200*time.Millisecond)))
}

// delivered polls until so many deliveries came, has each acknowledged as `judge` says, and returns how often each record came.
func delivered(member *kgo.Client, count int, judge func(*kgo.Record) kgo.AckStatus) map[string]int32 {
	patience, cancel := deadline()
	defer cancel()
	deliveries := map[string]int32{}
	for n := 0; n < count; {
		fetches := member.PollFetches(patience)
		must(patience.Err())
		must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			value := string(r.Value)
			deliveries[value]++
			equal(r.DeliveryCount(), deliveries[value], "the count of deliveries of "+value)
			r.Ack(judge(r))
		})
		must(member.FlushAcks(patience))
	}
	return deliveries
}

func runShares(suite *suite, f *franz) {
	group := func(topic string) string {
		name := "share-" + topic
		f.setGroupConfig(name, "share.auto.offset.reset", "earliest")
		return name
	}
	accept := func(*kgo.Record) kgo.AckStatus { return kgo.AckAccept }

	suite.run("franz-go: a share group accepts, releases and rejects", func() {
		name := freshTopic(f, 2, nil)
		shared := group(name)
		must(f.produce(name, values(2, 0, 30), "none", -1, false))
		first := f.shareMember(shared, name)
		status := func(number int) kgo.AckStatus {
			return []kgo.AckStatus{kgo.AckAccept, kgo.AckRelease, kgo.AckReject}[number%3]
		}
		deliveries := delivered(first, 40, func(r *kgo.Record) kgo.AckStatus {
			if r.DeliveryCount() > 1 {
				return kgo.AckAccept
			}
			return status(must1(strconv.Atoi(string(r.Value))))
		})
		for number := 0; number < 30; number++ {
			expected := map[kgo.AckStatus]int32{kgo.AckAccept: 1, kgo.AckRelease: 2, kgo.AckReject: 1}[status(number)]
			equal(deliveries[strconv.Itoa(number)], expected, fmt.Sprint("deliveries of ", number))
		}
		first.Close()
		// Nothing of it is left to another member.
		must(f.produce(name, []record{{value: []byte("new"), timestampMs: startMs}}, "none", -1, false))
		second := f.shareMember(shared, name)
		defer second.Close()
		equal(delivered(second, 1, accept), map[string]int32{"new": 1}, "what comes then")
	})
	suite.run("franz-go: members of a share group share a partition", func() {
		name := freshTopic(f, 1, nil)
		shared := group(name)
		first, second := f.shareMember(shared, name), f.shareMember(shared, name)
		defer second.Close()
		var mutex sync.Mutex
		received := map[string]int{}
		consume := func(ending context.Context, member *kgo.Client) {
			for ending.Err() == nil {
				member.PollRecords(ending, 3).EachRecord(func(r *kgo.Record) {
					r.Ack(kgo.AckAccept)
					mutex.Lock()
					defer mutex.Unlock()
					received[string(r.Value)]++
				})
			}
		}
		ending, end := context.WithCancel(f.background)
		var members sync.WaitGroup
		for _, member := range []*kgo.Client{first, second} {
			members.Add(1)
			go func() {
				defer members.Done()
				consume(ending, member)
			}()
		}
		for batch := 0; batch < 10; batch++ {
			must(f.produce(name, values(1, batch*20, batch*20+20), "none", -1, false))
		}
		defer members.Wait()
		defer end()
		eventually(func() {
			mutex.Lock()
			defer mutex.Unlock()
			equal(len(received), 200, "records")
		})
		for value, times := range received {
			equal(times, 1, value+" was received")
		}
		end()
		members.Wait()
		first.Close()
	})
	suite.run("franz-go: what a member of a share group holds when it leaves goes to another", func() {
		name := freshTopic(f, 1, nil)
		shared := group(name)
		must(f.produce(name, values(1, 0, 1), "none", -1, false))
		patience, cancel := deadline()
		defer cancel()
		next := func(member *kgo.Client) *kgo.Record {
			for {
				records := member.PollFetches(patience).Records()
				must(patience.Err())
				if len(records) > 0 {
					return records[0]
				}
			}
		}
		first := f.shareMember(shared, name)
		held := next(first)
		equal(held.DeliveryCount(), 1, "deliveries")
		held.Ack(kgo.AckRenew)
		first.Close()
		second := f.shareMember(shared, name)
		defer second.Close()
		again := next(second)
		equal(fmt.Sprint(string(again.Value), " ", again.DeliveryCount()), "0 2", "the record and its deliveries")
		again.Ack(kgo.AckAccept)
		must(second.FlushAcks(patience))
	})
}
