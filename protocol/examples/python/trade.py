"""Two players log in, one walks up to the other, and they trade; then they log out.

    python trade.py --connect 127.0.0.1:4001 --certificate .everhold/keys/tls-cert.pem --gifts 50 \\
        --ticket "$(everhold ticket --account 1 --zone meadow)" --ticket "$(everhold ticket --account 2 --zone meadow)"

What happens is printed, one JSON object a line. It exits with 0 if every gift was answered exactly once, both players were told the same,
and no gold came into being or was lost, however many shards died meanwhile.
"""

import argparse
import asyncio
import json
import sys

import wire
from session import Fault, Refused, Session

# Well within `reach_cm` of `assets/world.toml`, where players give and take.
NEAR_CM = 100
TURN_S = 0.1
# The first detour round a wall, and the longest; each is twice as long as the one before.
DETOUR_TURNS = 15
DETOUR_TURNS_MAX = 480


def tell(what: str, **fields):
    print(json.dumps({"what": what, **fields}), flush=True)


class Trader:
    """A player and the book of its gifts."""

    def __init__(self, session: Session):
        self.session = session
        self.asked = {}
        self.given = []
        self.taken = []
        self.rejected = []
        self.heard = []
        self.made = 0
        self._left_at = None
        self._detour = 0
        self._next_detour = DETOUR_TURNS
        self._side = 1
        session._on_event = self._note

    def _note(self, seq, tick, name, fields):
        if name == "Gold":
            _, delta, cause = fields
            cause, other = wire.variant(cause)
            if cause == "GiftTo":
                self.given.append((tick, -delta, other))
            elif cause == "GiftFrom":
                self.taken.append((tick, delta, other))
            else:
                self.made += delta
        elif name == "Rejected":
            self.rejected.append(fields[0])
        elif name == "Chat":
            self.heard.append(fields[1])

    def give(self, to: "Trader", amount: int):
        self.asked[self.session.push(wire.give_gold(to.session.id, amount))] = amount

    def place(self) -> tuple:
        return self.session.view.x, self.session.view.y

    def walk_towards(self, x: int, y: int) -> bool:
        """Heads for a point, or stands still if it is near. Returns whether it is."""
        dx, dy = x - self.place()[0], y - self.place()[1]
        distance = (dx * dx + dy * dy) ** 0.5
        if distance <= NEAR_CM:
            self.session.push(wire.move(0, 0))
            return True
        if self.place() == self._left_at:
            # A wall: along it for a while, and if that way is barred too, the other way.
            if self._detour:
                self._side = -self._side
            self._detour = self._next_detour
            self._next_detour = min(2 * self._next_detour, DETOUR_TURNS_MAX)
        self._left_at = self.place()
        if self._detour:
            self._detour -= 1
            dx, dy = -dy * self._side, dx * self._side
        # Slower at the end, so as not to run past it.
        length = min(127, distance / 4)
        self.session.push(wire.move(int(dx / distance * length), int(dy / distance * length)))
        return False


async def until(condition, traders: list, limit_s: float, what: str):
    """Waits for a condition, and fails as soon as a session does."""
    end = asyncio.get_running_loop().time() + limit_s
    while not condition():
        for task in traders:
            if task.done():
                task.result()
        if asyncio.get_running_loop().time() > end:
            raise Fault(f"not within {limit_s} s: {what}")
        await asyncio.sleep(0.02)


async def meet(first: Trader, second: Trader, tasks: list, limit_s: float):
    """Walks the second to the first, so that they see each other. (Between them may be a wall, but where somebody stands is none.)"""
    end = asyncio.get_running_loop().time() + limit_s
    while True:
        if second.walk_towards(*first.place()):
            break
        if asyncio.get_running_loop().time() > end:
            raise Fault(f"not within {limit_s} s: they meet")
        await asyncio.sleep(TURN_S)
    await until(lambda: second.session.id in first.session.entities, tasks, limit_s, "they see each other")


async def play(first: Trader, second: Trader, tasks: list, arguments):
    limit = arguments.limit
    await until(lambda: first.session.view and second.session.view, tasks, limit, "both are attached")
    tell("attached", epochs=[trader.session.epoch for trader in (first, second)])
    await meet(first, second, tasks, limit)
    first.session.push(wire.say("hail"))
    await until(lambda: "hail" in second.heard, tasks, limit, "a line of chat is heard")
    gold = first.session.gold + second.session.gold
    tell("trading", gold=gold)
    made = first.made + second.made
    for gift in range(arguments.gifts):
        giver, taker = (first, second) if gift % 2 else (second, first)
        giver.give(taker, 1 + gift % 3)
        await asyncio.sleep(TURN_S)
    both = (first, second)
    await until(lambda: all(trader.session.is_settled for trader in both), tasks, limit, "every gift is answered")
    await until(lambda: is_booked(first, second) and is_booked(second, first), tasks, limit, "the books agree")
    gold += first.made + second.made - made
    if first.session.gold + second.session.gold != gold:
        raise Fault(f"{gold} gold was there, {first.session.gold + second.session.gold} is")
    attaches = [trader.session.attaches for trader in both]
    given = sum(len(trader.given) for trader in both)
    tell("traded", given=given, rejected=sum(len(t.rejected) for t in both), gold=gold, attaches=attaches)


def is_booked(giver: Trader, taker: Trader) -> bool:
    """Each gift was done, or refused, once; and both sides were told so of the same tick."""
    told = [(tick, amount) for tick, amount, _ in giver.given]
    answered = len(told) + sum(1 for seq in giver.rejected if seq in giver.asked)
    return answered == len(giver.asked) and sorted(told) == sorted((tick, amount) for tick, amount, _ in taker.taken)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connect", action="append", required=True, metavar="HOST:PORT", help="a shard; repeat it")
    parser.add_argument("--certificate", required=True, metavar="PEM", help="the servers' certificate")
    parser.add_argument("--ticket", action="append", required=True, metavar="HEX", help="a login ticket; two of them")
    parser.add_argument("--gifts", type=int, default=20, metavar="N", help="gifts in all, ten a second")
    parser.add_argument("--limit", type=float, default=300.0, metavar="S", help="how long anything may take")
    arguments = parser.parse_args()
    if len(arguments.ticket) != 2:
        parser.error("two tickets are needed")
    return arguments


def split(address: str) -> tuple:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def main(arguments) -> int:
    addresses = [split(address) for address in arguments.connect]
    traders, tasks = [], []
    for name, ticket in zip(("first", "second"), arguments.ticket):
        session = Session(name, addresses, arguments.certificate, bytes.fromhex(ticket))
        traders.append(Trader(session))
        tasks.append(asyncio.create_task(session.run()))
    try:
        await play(*traders, tasks, arguments)
        for trader in traders:
            trader.session.leave()
        await asyncio.wait_for(asyncio.gather(*tasks), arguments.limit)
        tell("left")
        return 0
    except (Fault, Refused, wire.WireError) as error:
        tell("failed", why=str(error))
        return 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(parse())))
    except KeyboardInterrupt:
        sys.exit(130)
