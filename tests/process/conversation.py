"""A program that is talked to as at a terminal: it says lines, lines are typed to it."""
import subprocess

from nodes import PATIENCE


class Conversation:
    def __init__(self, words, env):
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=env)
        self.seen = []

    def expect(self, what):
        for line in self.process.stdout:
            self.seen.append(line.rstrip())
            if what in line:
                return self.seen[-1]
        raise AssertionError(f"never said {what!r}: {self.seen[-10:]} {self.process.stderr.read()}")

    def type(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, code=0):
        out, error = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == code, (out, error)
        return out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
