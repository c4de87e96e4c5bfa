// The same scenarios through franz-go and sarama, against the broker at BOOTSTRAP, then what only franz-go has.
package main

import (
	"fmt"
	"os"
	"regexp"
	"time"
)

func main() {
	bootstrap := os.Getenv("BOOTSTRAP")
	suite := &suite{only: regexp.MustCompile(os.Getenv("ONLY"))}
	for _, client := range []client{newFranz(bootstrap), newSarama(bootstrap)} {
		runScenarios(suite, client)
		runTransactions(suite, client)
		if franz, is := client.(*franz); is {
			runSessions(suite, franz)
			runShares(suite, franz)
		}
		client.close()
	}
	os.Exit(suite.finish())
}

// suite numbers what was checked, goes on after a failure, and sums up.
type suite struct {
	only           *regexp.Regexp
	passed, failed int
}

func (s *suite) run(name string, body func()) {
	if !s.only.MatchString(name) {
		return
	}
	number := s.passed + s.failed + 1
	started := time.Now()
	if failure := attempt(body); failure != nil {
		s.failed++
		fmt.Printf("FAIL %d %s\n     %.600v\n", number, name, failure)
		return
	}
	s.passed++
	if took := time.Since(started); took >= time.Second {
		name = fmt.Sprintf("%s (%.1f s)", name, took.Seconds())
	}
	fmt.Printf("ok %d %s\n", number, name)
}

func (s *suite) finish() int {
	fmt.Printf("%d passed, %d failed\n", s.passed, s.failed)
	if s.failed > 0 || s.passed == 0 {
		return 1
	}
	return 0
}

// attempt runs a body that panics where something does not hold.
func attempt(body func()) (failure any) {
	defer func() { failure = recover() }()
	body()
	return nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](value T, err error) T {
	must(err)
	return value
}

func equal[T any](actual, expected T, what string) {
	if a, e := fmt.Sprintf("%v", actual), fmt.Sprintf("%v", expected); a != e {
		panic(fmt.Sprintf("%s: %.250s is not %.250s", what, a, e))
	}
}

// eventually repeats a check until it holds.
func eventually(check func()) {
	deadline := time.Now().Add(60 * time.Second)
	for {
		failure := attempt(check)
		if failure == nil {
			return
		}
		if time.Now().After(deadline) {
			panic(failure)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
