"""A group of members of several implementations, driven in lock-step.

The room is the delivery service: what one member sends is given to every other before anybody does the next thing.
After each epoch `agree` compares all that the members tell, and has each of them send to all others.
"""
import json

from foreign import FOLDER, OURS, command_of
from mls_client import Client, Refused, show

_kept = {}  # implementation -> idle processes


class Member:
    def __init__(self, room, kind, name):
        self.room = room
        self.kind = kind
        self.name = name
        idle = _kept.get(kind.name, [])
        self.client = idle.pop() if idle else Client(command_of(kind), room.transcript)
        self.client.transcript = room.transcript
        self.client.name = f"{kind.name} {len(room.everybody)}"
        answer = self.client.ask("identity", name=name, suite=room.suite, wire_format=room.wire_format,
                        extension_types=room.extension_types, credential_types=[1, 2])
        self.signature_key = answer.get("signature_key")

    def ask(self, op, **fields):
        return self.client.ask(op, **fields)

    def can(self, ability):
        return ability in self.kind.can

    def __repr__(self):
        return self.client.name

    def end(self, good):
        if good and self.kind.kept and self.client.alive():
            _kept.setdefault(self.kind.name, []).append(self.client)
        else:
            self.client.close()


class Room:
    def __init__(self, suite, wire_format="private", extension_types=(), title="room"):
        self.suite = suite
        self.wire_format = wire_format
        self.extension_types = list(extension_types)
        self.title = title
        self.transcript = []
        self.everybody = []   # also those who have left
        self.members = []     # those in the group
        self.counter = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for member in self.everybody:
            member.end(kind is None)
        if kind is not None:
            folder = FOLDER / "transcripts"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{self.title}.jsonl"
            path.write_text("".join(json.dumps(entry) + "\n" for entry in self.transcript))
            print(f"every byte of this transcript: {path}")
            show(self.transcript)

    # ---- Who is here.

    def new(self, kind=OURS):
        # The form of names that one of the implementations insists on.
        index = len(self.everybody)
        name = f"5e55105e-0000-4000-8000-{index:012x}:1{index:015x}@slipway.test"
        member = Member(self, kind, name)
        self.everybody.append(member)
        return member

    def create(self, creator, **fields):
        creator.ask("create", group_id="5e55", **fields)
        self.members = [creator]

    def others(self, member):
        return [each for each in self.members if each is not member]

    def roster(self, teller):
        """Names by leaf, as this member sees them."""
        return {each["leaf"]: each.get("name") or each["credential"]["identity"]
                for each in teller.ask("state")["members"]}

    def leaf(self, member):
        teller = next(each for each in self.members if each.can("state"))
        return next(leaf for leaf, name in self.roster(teller).items() if name == member.name)

    # ---- What happens in the group.

    def propose(self, sender, op, **fields):
        proposal = sender.ask(op, **fields)["proposal"]
        for other in self.others(sender):
            other.ask("process", message=proposal)

    def hear_outsider(self, outsider, op, helper, **fields):
        """A proposal from outside reaches everybody."""
        info = helper.ask("group_info")["group_info"]
        proposal = outsider.ask(op, group_info=info, **fields)["proposal"]
        for member in self.members:
            member.ask("process", message=proposal)

    def commit(self, committer, add=(), remove=(), leaving=(), joining=(), outside=False, **fields):
        """A commit that everybody gets. `add` and `remove` go into it by value; `joining` and `leaving` are those who do
        so by proposals that wait."""
        packages = [each.ask("key_package")["key_package"] for each in add]
        made = self.make(committer, packages, remove, accept=True, tree_in_welcome=not outside, **fields)
        gone = [*remove, *leaving]
        for other in self.others(committer):
            if other not in gone or other.can("refilled_leaf") or not (add or joining):
                other.ask("process", message=made["commit"])
        lost = self.welcome([*add, *joining], made)
        self.members = [each for each in self.members if each not in gone]
        self.members += [each for each in (*joining, *add) if each not in lost]
        if lost:
            self.commit(committer, remove=lost)
        return made

    def make(self, committer, packages=(), remove=(), **fields):
        if remove:
            # By name for an implementation that knows no leaves.
            if committer.can("state"):
                fields["remove"] = [self.leaf(each) for each in remove]
            fields["remove_names"] = [each.name for each in remove]
        return committer.ask("commit", add=list(packages), **fields)

    def welcome(self, joiners, made):
        """Answers those who did not join because of a known fault of theirs."""
        tree = {"tree": made["tree"]} if "tree" in made else {}
        return [each for each in joiners if not self.joins(each, "join", welcome=made["welcome"], **tree)]

    def joins(self, joiner, op, **fields):
        try:
            return joiner.ask(op, **fields)
        except Refused as refusal:
            if joiner.kind.fault and joiner.kind.fault in refusal.answer["text"]:
                print(f"{joiner} did not {op}: {joiner.kind.fault}")
                return None
            raise

    def external_join(self, joiner, helper, **fields):
        made = self.joins(joiner, "external_join", group_info=helper.ask("group_info")["group_info"], **fields)
        if made is not None:
            for other in self.members:
                other.ask("process", message=made["commit"])
            self.members = [*self.members, joiner]

    def resync(self, lost, helper, **fields):
        """A member that lost its state comes back by an external commit that removes its former leaf."""
        leaf = next(leaf for leaf, name in self.roster(helper).items() if name == lost.name)
        lost.ask("leave")
        info = helper.ask("group_info")["group_info"]
        made = self.joins(lost, "external_join", group_info=info, remove=leaf, **fields)
        if made is None:
            self.members = self.others(lost)
            self.commit(helper, remove=[lost])
            return
        for other in self.others(lost):
            other.ask("process", message=made["commit"])


    # ---- Whether all is well.

    def agree(self, messages=True):
        self.same("epoch", [each.ask("state") for each in self.members])
        states = [each.ask("state") for each in self.members if each.can("state")]
        for field in ("epoch_authenticator", "tree_hash"):
            self.same(field, states)
        rosters = [self.roster(each) for each in self.members if each.can("state")]
        for roster in rosters:
            assert roster == rosters[0], rosters
            assert sorted(roster.values()) == sorted(each.name for each in self.members)
        self.same_exports()
        if messages:
            for sender in self.members:
                self.say(sender)

    def same(self, field, states):
        values = [state[field] for state in states]
        assert len(set(values)) <= 1, f"{field}: {values}"

    def same_exports(self):
        fixed = {each.kind.exporter for each in self.members if each.kind.exporter}
        wanted = [(label, context, 48) for label, context in fixed]
        free = [each for each in self.members if not each.kind.exporter]
        for label, context, size in wanted:
            self.same("secret", [each.ask("export", label=label, context=context, size=size) for each in self.members])
        for label, context, size in (("interop", "0102", 32), ("", "", 77)):
            self.same("secret", [each.ask("export", label=label, context=context, size=size) for each in free])

    def say(self, sender, **fields):
        """One message from one to all others; what its receivers are told about it must be true."""
        self.counter += 1
        plaintext = f"{self.counter} from {sender.name}".encode().hex()
        data = f"data {self.counter}".encode().hex() if sender.can("authenticated_data") else ""
        extra = {"authenticated_data": data} if data else {}
        sealed = sender.ask("protect", plaintext=plaintext, **extra, **fields)["message"]
        for receiver in self.others(sender):
            self.hear(receiver, sealed, plaintext, data)
        return sealed

    def hear(self, receiver, sealed, plaintext, data=""):
        opened = receiver.ask("process", message=sealed)
        assert opened["plaintext"] == plaintext, opened
        if receiver.can("authenticated_data"):
            assert opened["authenticated_data"] == data, opened
