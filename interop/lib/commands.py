"""A suite's program that is told what to do, a command a line, and answers each with a line of JSON. See Commands.java."""

import json
import threading


def ask(process, command, timeout_s, complaint):
    """The answer to a command. A program that takes longer is killed; `complaint` says what there is to say of one that ended."""
    process.stdin.write(" ".join(map(str, command)) + "\n")
    process.stdin.flush()
    watchdog = threading.Timer(timeout_s, process.kill)
    watchdog.start()
    line = process.stdout.readline()
    watchdog.cancel()
    answer = json.loads(line) if line else {"failed": complaint()}
    assert "failed" not in answer, f"{command[0]}: {answer['failed']}"
    return answer
