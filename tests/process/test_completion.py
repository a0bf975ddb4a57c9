"""Completion scripts loaded by the shells that they are for; a shell that is not installed is skipped."""
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("SLIPWAY_BUILD", "build"))
CTL = str((BUILD / "tools/slipwayctl").resolve())
PATIENCE = 60

# What is typed, and what must and must not be offered.
CASES = [
    ("slipwayctl ", ["status", "explain", "route"], ["add"]),
    ("slipwayctl st", ["status", "stop"], ["links"]),
    ("slipwayctl route ", ["add", "del"], ["status"]),
    ("slipwayctl route add --", ["--to", "--json"], ["--drain-ms"]),
    ("slipwayctl --api unix:///x st", ["status", "stop"], []),
    ("slipwayctl completion ", ["bash", "zsh", "fish"], ["status"]),
    ("slipwayctl log-level ", ["trace", "error"], ["status"]),
    ("slipwayctl links --", ["--after", "--limit"], ["--from"]),
]


def script(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine (package {shell})")
    return subprocess.run([CTL, "completion", shell], capture_output=True, text=True, check=True).stdout


def check(offered, wanted, unwanted, typed):
    assert not set(wanted) - offered, (typed, sorted(offered))
    assert not set(unwanted) & offered, (typed, sorted(offered))


@pytest.mark.parametrize("typed, wanted, unwanted", CASES)
def test_bash(tmp_path, typed, wanted, unwanted):
    (tmp_path / "script").write_text(script("bash"))
    words = typed.split(" ")
    ask = f'source {tmp_path}/script; COMP_WORDS=({" ".join(words[:-1])} "{words[-1]}"); COMP_CWORD={len(words) - 1}; _slipwayctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "--norc", "-c", ask], capture_output=True, text=True)
    assert not done.stderr
    check(set(done.stdout.split()), wanted, unwanted, typed)


@pytest.mark.parametrize("typed, wanted, unwanted", CASES)
def test_fish(tmp_path, typed, wanted, unwanted):
    (tmp_path / "script").write_text(script("fish"))
    environment = dict(os.environ, HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path))
    done = subprocess.run(["fish", "--no-config", "-c", f"source {tmp_path}/script; complete -C '{typed}'"], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert not done.stderr
    check({line.split("\t")[0] for line in done.stdout.splitlines()}, wanted, unwanted, typed)


class Zsh:
    """An interactive zsh at a terminal of our own, with the script found as a package installs it: in fpath."""

    def __init__(self, folder):
        (folder / "functions").mkdir()
        (folder / "functions/_slipwayctl").write_text(script("zsh"))
        (folder / ".zshrc").write_text(f"PS1='READY> '\nfpath=({folder}/functions $fpath)\nautoload -U compinit\ncompinit -u -d {folder}/dump\n"
                                       "setopt no_list_beep no_auto_menu list_ambiguous\nLISTMAX=1000\nstty rows 200 cols 200\nunset zle_bracketed_paste\n")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(ZDOTDIR=str(folder), TERM="dumb", HOME=str(folder))
            os.chdir(folder)
            os.execvp("zsh", ["zsh", "-i"])
        self.text = ""
        self.wait_for(r"READY> ")

    def wait_for(self, pattern, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {pattern} in {self.text!r}"
            self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(self.fd, 65536).decode(errors="replace"))

    def complete(self, typed, wanted):
        self.text = ""
        # ^D lists what could follow, ^U empties the line again.
        os.write(self.fd, typed.encode() + b"\x04")
        for word in wanted:
            self.wait_for(r"(^|[\r\n ])" + re.escape(word) + r"\b")
        self.wait_for(r"READY> " + re.escape(typed))
        text = self.text
        os.write(self.fd, b"\x15\r")
        self.text = ""
        self.wait_for(r"READY> ")
        return {word for word in re.findall(r"(?:^|[\r\n]|  )(--?[a-z][a-z-]*|[a-z][a-z-]+)(?= |\r|\n|$)", text)}

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def test_zsh(tmp_path):
    shell = Zsh(tmp_path)
    for typed, wanted, unwanted in CASES:
        offered = shell.complete(typed, wanted)
        assert not set(unwanted) & offered, (typed, sorted(offered))
    shell.close()
