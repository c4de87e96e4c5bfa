// franz-go under the loads of bench/clients: produce|consume key=value... What is measured comes as one line of JSON. See
// bench/README.md, and ../rust for the same in Rust.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	batchSizeBytes    = 128 * 1024
	linger            = 5 * time.Millisecond
	bufferMemoryBytes = 32 * 1024 * 1024
	values            = 1000
	ticksPerSecond    = 100 // USER_HZ of Linux
)

type options struct {
	load, bootstrap, topic, codec   string
	partitions, records, warm, size int
	rate                            float64
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parse(arguments []string) options {
	given := map[string]string{}
	for _, argument := range arguments[1:] {
		key, value, _ := strings.Cut(argument, "=")
		given[key] = value
	}
	number := func(key string) int {
		if given[key] == "" {
			return 0
		}
		parsed, err := strconv.Atoi(given[key])
		check(err)
		return parsed
	}
	return options{
		load: arguments[0], bootstrap: given["bootstrap"], topic: given["topic"], codec: given["codec"],
		partitions: number("partitions"), records: number("records"), warm: number("warm"), size: number("size"),
		rate: float64(number("rate")),
	}
}

// Of the values.
var fields = [16]string{
	"order", "customer", "status", "price", "city", "country", "quantity", "created",
	"updated", "warehouse", "carrier", "currency", "discount", "category", "product", "weight",
}

// The values that are sent, in turn: fields with numbers, as JSON has them, by a generator that the other programs have too.
func payloads(size int) [][]byte {
	state := uint32(1)
	all := make([][]byte, values)
	for i := range all {
		for len(all[i]) < size {
			state = state*1664525 + 1013904223
			all[i] = fmt.Appendf(all[i], "\"%s\":%04d,", fields[state>>28], (state>>8)%10000)
		}
		all[i] = all[i][:size]
	}
	return all
}

// Seconds of all threads, in the program and in the kernel.
func cpuSeconds() float64 {
	stat, err := os.ReadFile("/proc/self/stat")
	check(err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	check(err)
	system, err := strconv.ParseFloat(fields[12], 64)
	check(err)
	return (user + system) / ticksPerSecond
}

func memoryMaxMB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kilobytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			check(err)
			return kilobytes / 1024
		}
	}
	return 0
}

// Sends so many records and waits for all acknowledgements; paced, and with their latencies, where `rate` is given.
func send(client *kgo.Client, o options, all [][]byte, count int, rate float64) []time.Duration {
	var latencies []time.Duration
	var lock sync.Mutex
	began := time.Now()
	for i := range count {
		due := began
		if rate > 0 {
			due = began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
		}
		client.Produce(context.Background(), &kgo.Record{Topic: o.topic, Value: all[i%values]}, func(_ *kgo.Record, err error) {
			check(err)
			if rate > 0 {
				lock.Lock()
				latencies = append(latencies, time.Since(due))
				lock.Unlock()
			}
		})
	}
	check(client.Flush(context.Background()))
	return latencies
}

// Reads at least so many records, and looks at each.
func read(client *kgo.Client, count int) {
	records, bytes := 0, 0
	for records < count {
		fetches := client.PollFetches(context.Background())
		for _, err := range fetches.Errors() {
			check(err.Err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			records++
			bytes += len(record.Value)
		})
	}
	if bytes == 0 {
		check(fmt.Errorf("the records are empty"))
	}
}

func client(o options) *kgo.Client {
	settings := []kgo.Opt{kgo.SeedBrokers(o.bootstrap)}
	if o.load == "consume" {
		settings = append(settings, kgo.ConsumeTopics(o.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	} else {
		codec := map[string]kgo.CompressionCodec{
			"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
			"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
		}[o.codec]
		settings = append(settings, kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(batchSizeBytes),
			kgo.ProducerLinger(linger), kgo.MaxBufferedBytes(bufferMemoryBytes), kgo.MaxBufferedRecords(1_000_000))
	}
	made, err := kgo.NewClient(settings...)
	check(err)
	return made
}

func main() {
	o := parse(os.Args[1:])
	kafka := client(o)
	var all [][]byte
	if o.load == "produce" {
		all = payloads(o.size)
		send(kafka, o, all, o.warm, 0)
	} else {
		read(kafka, o.warm)
	}
	began, before := time.Now(), cpuSeconds()
	var latencies []time.Duration
	if o.load == "produce" {
		latencies = send(kafka, o, all, o.records, o.rate)
	} else {
		read(kafka, o.records)
	}
	took, spent := time.Since(began), cpuSeconds()-before
	records := float64(o.records)
	figures := map[string]float64{"records/s": records / took.Seconds(), "CPU us/record": spent * 1e6 / records, "RSS MB": memoryMaxMB()}
	if len(latencies) > 0 {
		slices.Sort(latencies)
		for name, part := range map[string]float64{"p50 ms": 0.5, "p99 ms": 0.99} {
			figures[name] = latencies[int(float64(len(latencies))*part)].Seconds() * 1e3
		}
	}
	line, err := json.Marshal(figures)
	check(err)
	fmt.Println(string(line))
	kafka.Close()
}
