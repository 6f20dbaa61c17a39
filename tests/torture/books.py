"""Two ledgers side by side: what the simulator accepted, and what Hermod says became of every message.

    lost        accepted (202, or XADD answered), and: no record, or no final state, or `sent` and the simulator never saw it
    copies      the simulator has a message more often than once
      marked    covered by attempts that the ledger calls `unknown`: allowed
      unmarked  not covered: never allowed. Nor is a second copy on a channel that says resend_unknown: false,
                nor a copy of a message with neither an ok nor an unknown attempt
    stray       in Hermod's ledger or in the simulator's, but nobody sent it

The reports balance on every node, and over all nodes each message counts once, whoever had it on the way.
"""
import collections
import json
from dataclasses import dataclass, field

import ids
from world import FINAL, PARTITIONS, Trouble, wait

N_PARTS = 3  # of traffic.WORDS


@dataclass
class Row:
    """One line of the ledger that is printed at the end."""
    name: str
    kills: int = 0
    accepted: int = 0
    maybe: int = 0  # submissions cut off before their answer, and found in the ledger
    states: collections.Counter = field(default_factory=collections.Counter)
    unknown: int = 0
    marked: int = 0
    unmarked: int = 0
    lost: int = 0
    stray: int = 0
    note: str = ""
    wrong: list = field(default_factory=list)  # sentences

    @property
    def ok(self):
        return not self.wrong and not (self.unmarked or self.lost or self.stray)

    def add(self, other):
        for k in ("kills", "accepted", "maybe", "unknown", "marked", "unmarked", "lost", "stray"):
            setattr(self, k, getattr(self, k) + getattr(other, k))
        self.states.update(other.states)
        self.wrong += other.wrong
        return self


def table(rows, out=print):
    out(f"\n  {'':30} {'kills':>6} {'accepted':>9} {'sent':>8} {'failed':>7} {'other':>6} {'unknown':>8} {'copies':>7} {'unmarked':>9} {'lost':>5}")
    total = Row("total")
    for r in rows:
        total.add(r)
    for r in [*rows, total]:
        other = sum(v for k, v in r.states.items() if k not in ("sent", "failed"))
        out(f"  {r.name:30} {r.kills:6} {r.accepted + r.maybe:9} {r.states['sent']:8} {r.states['failed']:7} {other:6} {r.unknown:8} {r.marked:7} "
            f"{r.unmarked:9} {r.lost:5}  {'' if r.ok else 'WRONG '}{r.note}")
    for r in rows:
        for w in r.wrong[:8]:
            out(f"  {r.name}: {w[:700]}")
    return total


class Books:
    """Of one simulator: what it has seen, over all rounds."""

    def __init__(self, world):
        self.w = world
        self.copies = collections.Counter()  # (id, part)
        self.allowed = {}  # id -> copies that its record covers, from rounds that are over
        self.dead = [("0", b"")] * PARTITIONS

    def read_sink(self):
        """Moves the simulator's ledger into ours; nothing may be under way."""
        seen = collections.Counter()
        for (profile, key), n in self.w.sink.dump().items():
            seen[ids.of_sink(profile, key)] += n
        self.w.sink.reset()
        self.w.sink.knobs(self.w.weather)
        self.copies += seen
        return seen

    def dead_letters(self):
        text = b""
        c = self.w.client()
        for p in range(PARTITIONS):
            for _, fields in c.xrange(f"{{hm:{p}}}:dead"):
                text += fields.get(b"j", b"") + b"\n"
        c.close()
        return text


def records(worlds, campaign):
    """{id: [record of each ledger that has it]}"""
    found = collections.defaultdict(list)
    for w in worlds:
        r = w.cli("ledger", "list", "--campaign", campaign, "--limit", "0", "--json")
        if r.returncode != 0:
            raise Trouble(f"hermod ledger list: {r.stderr}")
        for line in r.stdout.splitlines():
            m = json.loads(line)
            found[m["id"]].append(m)
    return found


def drain(worlds, producers, campaign, seconds=45):
    """Until everything accepted is final and the queues are empty, and every node knows whose a message is."""
    def final():
        """Messages that have ended somewhere, and that every process still has to end."""
        ended = sum(w.engine.final(campaign) for w in worlds)
        return ended, worlds[0].queued()
    need = sum(len(p.accepted) for p in producers)

    def done():
        try:
            ended, queued = final()
        except (OSError, AssertionError):  # AssertionError: a 503, out of memory for the answer
            for w in worlds:
                if not w.engine.alive():
                    raise Trouble(f"the engine ended with {w.engine.p.returncode}: {w.tail()}") from None
            return False
        return ended >= need and queued == 0 and (len(worlds) == 1 or worlds[0].untold() == 0)
    wait(done, seconds, lambda: f"{campaign}: {need} messages are final and the queues empty (final, queued: {final()}) "
         f"{[w.report(campaign) for w in worlds]} {worlds[0].left()}")


def compare(name, books, worlds, producers, campaign, kills=0, verify=True, forgotten=False):
    """`forgotten`: Redis may have lost what it accepted; it stays pending in the report, which is how one finds out."""
    row = Row(name, kills=kills)
    accepted = {}
    for p in producers:
        accepted.update(p.accepted)
    maybe = set().union(*(p.maybe for p in producers))
    unanswered = sum(p.unanswered for p in producers)
    found = records(worlds, campaign)
    seen = books.read_sink()
    by_id = collections.defaultdict(dict)
    for (id, part), n in books.copies.items():
        if id in found or id in accepted:
            by_id[id][part] = n
    row.accepted = len(accepted)
    for id, rs in found.items():
        judge(row, id, rs, by_id.get(id, {}), accepted, len(worlds) == 1, books)
    for id in accepted:
        if id not in found:
            row.lost += 1
            row.wrong.append(f"{id} on {accepted[id][0]}: accepted, and no ledger has it")
    extra = [id for id in found if id not in accepted and id not in maybe]
    row.maybe = len(found) - len(accepted) + row.lost if len(found) >= len(accepted) else 0
    if len(extra) > unanswered:
        row.stray += len(extra) - unanswered
        row.wrong.append(f"{len(extra)} messages nobody was told of, but only {unanswered} submissions without an answer")
    for (id, part), _ in seen.items():
        if id in found:
            continue
        if id not in books.allowed:
            row.stray += 1
            row.wrong.append(f"{id}: the simulator has it, no ledger does")
        elif sum(books.copies[k] for k in books.copies if k[0] == id) > books.allowed[id]:
            row.unmarked += 1
            row.wrong.append(f"{id}: sent again after its round was over")
    marks = set().union(*(p.broken for p in producers))
    if marks:
        dead = books.dead_letters()
        missing = [m for m in marks if m.encode() not in dead]
        if missing:
            row.lost += len(missing)
            row.wrong.append(f"{len(missing)} entries that do not decode are not among the dead letters")
    balance(row, worlds, campaign, found, verify, forgotten)
    return row


def judge(row, id, rs, parts, accepted, strict, books):
    best = next((m for m in rs if m["state"] == "sent"), rs[0])
    state = best["state"]
    channel = accepted.get(id, (best.get("channel"),))[0]
    outcomes = collections.Counter(a["outcome"] for m in rs for a in m.get("attempts", ()))
    copies = sum(parts.values())
    pieces = N_PARTS if channel == "parts" else 1
    row.states[state] += 1
    row.unknown += outcomes["unknown"]
    extra = sum(n - 1 for n in parts.values())
    if state not in FINAL and state != "delivered":
        row.lost += 1
        row.wrong.append(f"{id} on {channel}: ended as {state}")
    elif state == "sent" and len(parts) < pieces:
        row.lost += 1
        row.wrong.append(f"{id} on {channel}: sent, but the simulator has {len(parts)} of {pieces}: {best}")
    if extra > 0:
        if extra <= outcomes["unknown"] * pieces or (outcomes["unknown"] > 0 and not strict):
            row.marked += extra
        else:
            row.unmarked += extra - outcomes["unknown"] * pieces
            row.wrong.append(f"{id} on {channel}: {copies} copies, {dict(outcomes)}: {rs}")
    if channel == "once" and copies > 1:
        row.unmarked += 1
        row.wrong.append(f"{id}: {copies} copies on a channel that never repeats: {rs}")
    if copies > 0 and outcomes["ok"] + outcomes["unknown"] == 0:
        row.unmarked += 1
        row.wrong.append(f"{id} on {channel}: the simulator accepted it, the ledger knows of no such attempt: {rs}")
    books.allowed[id] = pieces * (1 + outcomes["unknown"])


def balance(row, worlds, campaign, found, verify, forgotten):
    total = collections.Counter()
    for w in worlds:
        r = w.cli("report", "--json", *(["--verify"] if verify else []))
        if r.returncode != 0:
            row.wrong.append(f"hermod report --verify: {r.stdout[-300:]} {r.stderr[-300:]}")
            return
        data = json.loads(r.stdout)
        for c in [data["total"], *data["campaigns"]]:
            if not c["balanced"] or c["accepted"] != sum(c[s] for s in FINAL) + c["pending"]:
                row.wrong.append(f"the books do not balance: {c}")
            if c["repeats"]:
                row.wrong.append(f"final records for messages that were final: {c}")
        mine = next((c for c in data["campaigns"] if c["campaign"] == campaign), None)
        if mine:
            total.update({k: v for k, v in mine.items() if isinstance(v, int) and not isinstance(v, bool)})
    # Each counts once over all nodes, and nothing stays pending on any.
    pending = max(0, total["accepted"] - len(found)) if forgotten else 0
    if total["accepted"] != len(found) + pending or total["pending"] != pending or sum(total[s] for s in FINAL) != len(found):
        row.wrong.append(f"{campaign}: records of {len(found)} messages, but the report of {len(worlds)} says {dict(total)}")
    if len(worlds) == 1:
        if total["unknown_attempts"] != row.unknown:
            row.wrong.append(f"{campaign}: the records have {row.unknown} unknown attempts, the report {total['unknown_attempts']}")
