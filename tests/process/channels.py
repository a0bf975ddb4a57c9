"""A node that hosts channels, for the tests."""
import json
import subprocess

from nodes import BUILD, PATIENCE

CTL = BUILD / "tools/slipwayctl"
MODERATOR = "org/node/moderator"


def by_tokens(private, public, subject):
    """Who the node is by tokens, as `slipway.channels.identity`."""
    def auth(kind, file, **claims):
        return {"type": "jwt", "duration": "1h", "claims": claims, "key": {"type": kind, "algorithm": "ES256", "format": "pem", "key": {"file": str(file)}}}
    return json.dumps({"type": "jwt", "token": auth("encoding", private, subject=subject), "verify": auth("decoding", public)})


def section(folder, secret, store=True, hosted=None, identity=None):
    """The part of the configuration, with its files in the folder."""
    (folder / "secret").write_text(secret + "\n")
    (folder / "secret").chmod(0o600)
    text = f"  channels:\n    name: {MODERATOR}\n    identity: {identity or f'{{secret_file: {folder}/secret}}'}\n"
    if store:
        key = folder / "sealing.key"
        if not key.exists():
            key.write_text("00112233445566778899aabbccddeeff" * 2 + "\n")
            key.chmod(0o600)
        text += f"    store: {folder / 'channels.db'}\n    key_file: {key}\n"
    if hosted is not None:
        text += "    hosted:\n" if hosted else "    hosted: []\n"
        for name, participants in hosted.items():
            text += f"      - {{name: {name}, participants: [{', '.join(participants)}]}}\n"
    return text


def ctl(node, *words, code=0):
    """`slipwayctl --json channel ...`: its answer, which must be this exit code."""
    done = subprocess.run([CTL, "--api", f"unix://{node.api}", "--json", "channel", *words], capture_output=True, text=True, timeout=4 * PATIENCE)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout or done.stderr)


def text(node, *words):
    return subprocess.run([CTL, "--api", f"unix://{node.api}", "channel", *words], capture_output=True, text=True, timeout=4 * PATIENCE, check=True).stdout


def members(node, channel="org/ns/room"):
    return sorted(member["name"].rsplit("/", 1)[0] for member in ctl(node, "show", channel)["members"])
