"""A random conversation: members of several implementations, and twenty steps that a seed chooses."""
import random

from foreign import OURS

MOST_MEMBERS = 6
PSK_ID = "70736b"


class Walk:
    def __init__(self, room, kinds, seed):
        self.room = room
        self.kinds = kinds
        self.random = random.Random(seed)
        self.left = []     # members who were removed and may come back
        self.log = []      # what was done, for whoever reads a failure

    def run(self, steps):
        room = self.room
        first, *others = [self.new(kind) for kind in self.kinds]
        room.create(first)
        room.commit(first, add=others)
        room.agree()
        for number in range(steps):
            choices = [step for step, possible in self.steps().items() if possible]
            step = self.random.choice(choices)
            self.log.append(step)
            print(f"step {number}: {step}")
            getattr(self, step)()
            room.agree()

    def steps(self):
        """Which steps are possible now."""
        members = self.room.members
        few = len(members) < MOST_MEMBERS
        many = len(members) > 2
        return {
            "update": True,
            "talk": True,
            "add": few,
            "add_two": few,
            "remove": many,
            "replace": many and any(each.can("mixed_commits") for each in members),
            "come_back": few and bool(self.left),
            "propose": bool(self.proposers("add", "remove", "update")),
            "psk": self.all_can("psk") and any(each.can("psks") for each in members),
            "resumption_psk": self.all_can("resumption_psks"),
            "external_join": few,
            "propose_join": few and self.all_can("propose_join"),
            "resync": any(each.can("resync") for each in members),
            "race": sum(each.can("accept") for each in members) >= 2,
        }

    def all_can(self, ability):
        return all(each.can(ability) for each in self.room.members)

    def proposers(self, *abilities):
        return [each for each in self.room.members if any(each.can(ability) for ability in abilities)]

    def new(self, kind=None):
        member = self.room.new(kind or self.random.choice(self.kinds))
        if member.can("psk"):
            member.ask("psk", psk_id=PSK_ID, secret="5e" * 32)
        return member

    def one(self, ability=None):
        return self.random.choice([each for each in self.room.members if ability is None or each.can(ability)])

    def victim(self, committer):
        """Somebody else; never the last of ours, which tells the others' leaves."""
        ours = [each for each in self.room.members if each.kind is OURS]
        return self.random.choice([each for each in self.room.others(committer) if ours != [each]] or [None])

    # ---- The steps.

    def update(self):
        self.room.commit(self.one(), force_path=True)

    def talk(self):
        sender = self.one()
        messages = [(f"{number:02x}", sender.ask("protect", plaintext=f"{number:02x}")["message"]) for number in range(3)]
        for receiver in self.room.others(sender):
            # Each hears them in another order, and may miss one.
            heard = self.random.sample(messages, self.random.choice((2, 3)))
            for plaintext, sealed in heard if receiver.can("wide_window") else sorted(heard):
                self.room.hear(receiver, sealed, plaintext)

    def add(self):
        self.room.commit(self.one(), add=[self.new()])

    def add_two(self):
        self.room.commit(self.one(), add=[self.new(), self.new()])

    def remove(self):
        committer = self.one()
        victim = self.victim(committer)
        if victim is not None:
            self.room.commit(committer, remove=[victim])
            self.left.append(victim)

    def replace(self):
        committer = self.one("mixed_commits")
        victim = self.victim(committer)
        if victim is not None:
            self.room.commit(committer, remove=[victim], add=[self.new()])
            self.left.append(victim)

    def come_back(self):
        member = self.left.pop(self.random.randrange(len(self.left)))
        member.ask("leave")
        self.room.commit(self.one(), add=[member])

    def propose(self):
        """One to three proposals by different members, then a commit of somebody who proposed nothing."""
        room = self.room
        able = self.proposers("add", "remove", "update")
        senders = self.random.sample(able, min(len(able), self.random.randint(1, 3), len(room.members) - 1))
        committer = self.random.choice([each for each in room.members if each not in senders])
        joining, leaving = [], []
        for sender in senders:
            kind = self.random.choice([each for each in ("add", "remove", "update") if sender.can(each)])
            if kind == "add" and len(room.members) + len(joining) < MOST_MEMBERS:
                joining.append(self.new())
                room.propose(sender, "add", key_package=joining[-1].ask("key_package")["key_package"])
            elif kind == "remove":
                # Nobody who has proposed: an Update of a member and its removal do not go together.
                spare = [each for each in room.members if each not in (*senders, committer, *leaving)]
                ours = [each for each in room.members if each.kind is OURS and each not in leaving]
                spare = [each for each in spare if ours != [each]]
                if spare:
                    leaving.append(self.random.choice(spare))
                    room.propose(sender, "remove", leaf=room.leaf(leaving[-1]))
            elif sender.can("update"):
                room.propose(sender, "update")
        room.commit(committer, joining=joining, leaving=leaving)
        self.left += leaving

    def psk(self):
        self.room.commit(self.one("psks"), psks=[PSK_ID], force_path=self.random.random() < 0.5)

    def resumption_psk(self):
        """Of an epoch in which all who are there now were there: the current one."""
        committer = self.one("resumption_psks")
        self.room.commit(committer, resumption_psks=[committer.ask("state")["epoch"]])

    def external_join(self):
        helper = self.one()
        if not helper.can("state"):
            self.room.commit(helper, force_path=True)  # it gives a GroupInfo out with its commits only
        joiner = self.new(self.random.choice([each for each in self.kinds if "external_join" in each.can]))
        self.room.external_join(joiner, helper)

    def propose_join(self):
        joiner = self.new(self.random.choice([each for each in self.kinds if "propose_join" in each.can]))
        self.room.hear_outsider(joiner, "propose_join", self.one())
        self.room.commit(self.one(), joining=[joiner])

    def resync(self):
        room = self.room
        lost = self.one("resync")
        helpers = [each for each in room.others(lost) if each.can("state")]
        if not helpers:
            return
        room.resync(lost, self.random.choice(helpers))

    def race(self):
        """Two commit in one epoch; one of them is taken. A message that was on its way arrives after it."""
        room = self.room
        winner, loser = self.random.sample([each for each in room.members if each.can("accept")], 2)
        sealed = loser.ask("protect", plaintext="1a7e")["message"]
        room.make(loser, force_path=True, accept=False)
        taken = room.make(winner, force_path=True, accept=False)["commit"]
        winner.ask("accept")
        loser.ask("refuse")
        for other in room.others(winner):
            other.ask("process", message=taken)
        for receiver in room.others(loser):
            if receiver.can("past_epochs"):
                room.hear(receiver, sealed, "1a7e")
