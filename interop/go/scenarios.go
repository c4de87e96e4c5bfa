package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// startMs is an hour ago: within any retention.
var startMs = time.Now().Unix()*1000 - 3_600_000

// record is what both clients can say about one.
type record struct {
	partition   int32
	offset      int64
	key, value  []byte
	header      string
	timestampMs int64
}

// client is what the scenarios need of each of the two.
type client interface {
	name() string
	codecs() []string
	create(topic string, partitions int32, configs map[string]string)
	grow(topic string, partitions int32)
	deleteTopic(topic string)
	topics() map[string]int
	config(topic, key string) string
	setConfig(topic, key, value string)
	deleteRecords(topic string, partition int32, before int64)
	bounds(topic string, partition int32) (int64, int64)
	offsetForTime(topic string, partition int32, timestampMs int64) int64
	groupState(group string) (state string, members int)
	groupOffsets(group, topic string) map[int32]int64
	deleteGroup(group string)
	// produce sends all and returns the error of the first that failed.
	produce(topic string, records []record, codec string, acks int, idempotent bool) error
	read(topic string, partitions int32, count int) []record
	readCommitted(topic string, partitions int32, count int) []record
	// transactional makes a producer with a transactional id, which fences others with the same one.
	transactional(id string) transactor
	// join makes a member of a group that reports to the tracker until it is closed. An assignor of "" is the client's default.
	join(group, topic, assignor, instance string, tracker *tracker) func()
	assignors() []string
	close()
}

// tracker remembers what a member got and owns.
type tracker struct {
	mutex    sync.Mutex
	received map[string]int
	owned    map[int32]bool
	err      error
}

func newTracker() *tracker {
	return &tracker{received: map[string]int{}, owned: map[int32]bool{}}
}

func (t *tracker) got(partition int32, offset int64) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.received[fmt.Sprintf("%d@%d", partition, offset)]++
}

func (t *tracker) own(partitions []int32, yes bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, partition := range partitions {
		t.owned[partition] = yes
	}
}

func (t *tracker) owns() []int32 {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var owned []int32
	for partition, yes := range t.owned {
		if yes {
			owned = append(owned, partition)
		}
	}
	slices.Sort(owned)
	return owned
}

func (t *tracker) fail(err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.err == nil {
		t.err = err
	}
}

func waitForShares(count int, trackers ...*tracker) {
	eventually(func() {
		owners := make([]int, count)
		for _, t := range trackers {
			t.mutex.Lock()
			own, err := 0, t.err
			for partition, yes := range t.owned {
				if yes {
					owners[partition]++
					own++
				}
			}
			t.mutex.Unlock()
			must(err)
			if own == 0 {
				panic("a member owns nothing")
			}
		}
		for partition, n := range owners {
			equal(n, 1, fmt.Sprintf("owners of %d", partition))
		}
	})
}

func waitForRecords(count int, trackers ...*tracker) {
	eventually(func() {
		all := map[string]int{}
		for _, t := range trackers {
			t.mutex.Lock()
			for key, times := range t.received {
				all[key] += times
			}
			t.mutex.Unlock()
		}
		equal(len(all), count, "records")
		for key, times := range all {
			equal(times, 1, key+" was received")
		}
	})
}

// payload gives bytes of which half can be compressed away.
func payload(size int, seed int64) []byte {
	noise := make([]byte, size/2)
	rand.New(rand.NewSource(seed)).Read(noise)
	return append(noise, bytes.Repeat([]byte("x"), size-size/2)...)
}

func sorted(records []record) []record {
	sort.Slice(records, func(i, j int) bool {
		a, b := records[i], records[j]
		return a.partition < b.partition || a.partition == b.partition && a.offset < b.offset
	})
	return records
}

func equalRecords(actual, expected []record) {
	equal(len(actual), len(expected), "records")
	sorted(expected)
	for i := range actual {
		a, e := actual[i], expected[i]
		equal(fmt.Sprint(a.partition, "@", a.offset, " ", a.timestampMs, " ", a.header), fmt.Sprint(e.partition, "@", e.offset, " ", e.timestampMs, " ", e.header), "record")
		same := bytes.Equal(a.key, e.key) && bytes.Equal(a.value, e.value) && (a.key == nil) == (e.key == nil) && (a.value == nil) == (e.value == nil)
		equal(same, true, fmt.Sprintf("key and value of %d@%d are the same", a.partition, a.offset))
	}
}

func values(partitions, from, to int) []record {
	var records []record
	for i := from; i < to; i++ {
		records = append(records, record{partition: int32(i % partitions), offset: int64(i / partitions), value: []byte(fmt.Sprint(i)), timestampMs: startMs + int64(i)})
	}
	return records
}

var names int

// freshTopic makes a topic and waits until the broker leads it.
func freshTopic(c client, partitions int32, configs map[string]string) string {
	names++
	name := fmt.Sprintf("%s-%d", c.name(), names)
	c.create(name, partitions, configs)
	eventually(func() {
		c.bounds(name, 0)
		c.bounds(name, partitions-1)
	})
	return name
}

func runScenarios(suite *suite, c client) {
	topic := func(partitions int32, configs map[string]string) string { return freshTopic(c, partitions, configs) }
	run := func(name string, body func()) { suite.run(c.name()+": "+name, body) }

	for _, codec := range c.codecs() {
		for _, acks := range []int{0, 1, -1} {
			run(fmt.Sprintf("%s, acks %d", codec, acks), func() {
				name := topic(2, nil)
				var sent []record
				for i := 0; i < 500; i++ {
					sent = append(sent, record{int32(i % 2), int64(i / 2), []byte(fmt.Sprint("k", i)), payload(i%150, int64(i)), fmt.Sprint("h=", i), startMs + int64(i)})
				}
				must(c.produce(name, sent, codec, acks, false))
				equalRecords(c.read(name, 2, len(sent)), sent)
			})
		}
		run(codec+", idempotent", func() {
			name := topic(3, nil)
			must(c.produce(name, values(3, 0, 900), codec, -1, true))
			equalRecords(c.read(name, 3, 900), values(3, 0, 900))
		})
		run(codec+", records of 900 kB", func() {
			name := topic(1, nil)
			var sent []record
			for i := 0; i < 4; i++ {
				sent = append(sent, record{offset: int64(i), value: payload(900_000, int64(i)), timestampMs: startMs})
			}
			must(c.produce(name, sent, codec, -1, false))
			equalRecords(c.read(name, 1, len(sent)), sent)
		})
	}
	run("null and empty keys and values", func() {
		name := topic(1, nil)
		sent := []record{{offset: 0, key: []byte("k"), timestampMs: startMs}, {offset: 1, value: []byte{}, timestampMs: startMs}, {offset: 2, key: []byte{}, value: []byte("v"), timestampMs: startMs}}
		must(c.produce(name, sent, "none", -1, false))
		equalRecords(c.read(name, 1, 3), sent)
	})
	run("50 partitions", func() {
		name := topic(50, nil)
		must(c.produce(name, values(50, 0, 5000), "none", -1, true))
		equalRecords(c.read(name, 50, 5000), values(50, 0, 5000))
	})
	run("a record above max.message.bytes", func() {
		name := topic(1, map[string]string{"max.message.bytes": "1000"})
		err := c.produce(name, []record{{value: payload(5000, 1), timestampMs: startMs}}, "none", -1, false)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "large") {
			panic(fmt.Sprint("it failed with ", err))
		}
	})
	run("offsets by time, beginning and end", func() {
		name := topic(1, nil)
		must(c.produce(name, values(1, 0, 20), "none", -1, false))
		equal(c.offsetForTime(name, 0, startMs+5), 5, "offset for time")
		start, end := c.bounds(name, 0)
		equal([]int64{start, end}, []int64{0, 20}, "bounds")
	})
	for _, assignor := range c.assignors() {
		run("a group of two members, one joins and leaves: "+assignor, func() {
			name := topic(4, nil)
			group := "g-" + name
			must(c.produce(name, values(4, 0, 200), "none", -1, false))
			first, second := newTracker(), newTracker()
			leave := c.join(group, name, assignor, "", first)
			defer func() { leave() }()
			waitForShares(4, first)
			waitForRecords(200, first)
			leaveSecond := c.join(group, name, assignor, "", second)
			waitForShares(4, first, second)
			must(c.produce(name, values(4, 200, 400), "none", -1, false))
			waitForRecords(400, first, second)
			leaveSecond()
			waitForShares(4, first)
			must(c.produce(name, values(4, 400, 600), "none", -1, false))
			waitForRecords(600, first, second)
			leave()
			leave = func() {}
			equal(c.groupOffsets(group, name), map[int32]int64{0: 150, 1: 150, 2: 150, 3: 150}, "committed")
		})
	}
	run("a group goes on from what was committed", func() {
		name := topic(1, nil)
		must(c.produce(name, values(1, 0, 10), "none", -1, false))
		first := newTracker()
		leave := c.join("g-"+name, name, "", "", first)
		waitForRecords(10, first)
		leave()
		must(c.produce(name, values(1, 10, 11), "none", -1, false))
		second := newTracker()
		leave = c.join("g-"+name, name, "", "", second)
		waitForRecords(1, second)
		leave()
		equal(second.received["0@10"], 1, "the new record")
	})
	// With the consumer protocol franz-go 1.22.2 does not come back, neither to Apache Kafka: its instance id is not released.
	run("a static member comes back to what it had", func() {
		name := topic(4, nil)
		first, second := newTracker(), newTracker()
		leave := c.join("g-"+name, name, "range", "staying", first)
		defer func() { leave() }()
		waitForShares(4, first)
		leaveSecond := c.join("g-"+name, name, "range", "moving", second)
		waitForShares(4, first, second)
		before := second.owns()
		leaveSecond()
		again := newTracker()
		leaveSecond = c.join("g-"+name, name, "range", "moving", again)
		waitForShares(4, first, again)
		equal(again.owns(), before, "owned after coming back")
		leaveSecond()
	})
	run("topics are administered", func() {
		name := topic(2, map[string]string{"retention.ms": "123456"})
		equal(c.topics()[name], 2, "partitions")
		equal(c.config(name, "retention.ms"), "123456", "retention.ms")
		c.setConfig(name, "retention.ms", "654321")
		eventually(func() { equal(c.config(name, "retention.ms"), "654321", "retention.ms") })
		c.grow(name, 5)
		eventually(func() { equal(c.topics()[name], 5, "partitions") })
		must(c.produce(name, values(1, 0, 6), "none", -1, false))
		c.deleteRecords(name, 0, 4)
		start, end := c.bounds(name, 0)
		equal([]int64{start, end}, []int64{4, 6}, "bounds")
		c.deleteTopic(name)
		eventually(func() { equal(c.topics()[name], 0, "partitions") })
	})
	run("groups are administered", func() {
		name := topic(1, nil)
		group := "g-" + name
		must(c.produce(name, values(1, 0, 5), "none", -1, false))
		t := newTracker()
		leave := c.join(group, name, "", "", t)
		waitForRecords(5, t)
		eventually(func() {
			state, members := c.groupState(group)
			equal(fmt.Sprint(state, members), "Stable1", "state")
		})
		leave()
		eventually(func() {
			state, members := c.groupState(group)
			equal(fmt.Sprint(state, members), "Empty0", "state")
		})
		equal(c.groupOffsets(group, name), map[int32]int64{0: 5}, "committed")
		c.deleteGroup(group)
		eventually(func() {
			state, _ := c.groupState(group)
			equal(state, "Dead", "state")
		})
	})
}
