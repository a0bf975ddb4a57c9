"""One MLS client behind the line protocol of `slipway-mls client` (tools/mls/README.md): a request, then its answer.

Every exchange is kept in a transcript, which a failure prints. A client that does not answer in time is ended.
"""
import json
import os
import selectors
import subprocess
import time

# Generous: the slowest is a P-256 operation in JavaScript on a machine that is busy.
ANSWER_SECONDS = 90
SHOWN_CHARACTERS = 96


class Refused(AssertionError):
    """The client answered, and said no."""

    def __init__(self, who, op, answer):
        super().__init__(f"{who} refused {op}: {answer.get('error')}: {str(answer.get('text'))[:2000]}")
        self.answer = answer


class Client:
    def __init__(self, command, transcript):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.transcript = transcript
        self.name = "?"
        self.buffer = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def alive(self):
        return self.process.poll() is None

    def ask(self, op, **fields):
        request = {"op": op, **fields}
        entry = [self.name, request, None]
        self.transcript.append(entry)
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise AssertionError(f"{self.name} ended before {op}, with code {self.process.poll()}") from None
        answer = json.loads(self._line(op))
        entry[2] = answer
        if not answer["ok"]:
            raise Refused(self.name, op, answer)
        return answer

    def _line(self, op):
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in self.buffer:
            if not self.selector.select(max(0, deadline - time.monotonic())):
                self.process.kill()
                raise AssertionError(f"{self.name} did not answer {op} in {ANSWER_SECONDS} s")
            piece = os.read(self.process.stdout.fileno(), 1 << 20)
            if not piece:
                raise AssertionError(f"{self.name} ended during {op}, with code {self.process.wait()}")
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def shortened(value):
    if isinstance(value, dict):
        return {key: shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value]
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return f"{value[:SHOWN_CHARACTERS]}... ({len(value)} characters)"
    return value


def show(transcript):
    """The transcript for people: long strings cut."""
    for name, request, answer in transcript:
        print(f"{name} <- {json.dumps(shortened(request))}")
        print(f"{name} -> {json.dumps(shortened(answer))}")
