"""The bytes of the Everhold protocol, as PROTOCOL.md describes them. This module opens no socket and reads no clock."""

import struct
from dataclasses import dataclass, field

import blake3
import msgpack

ALPN = "everhold/1"
PROTOCOL_VERSION = 4
CONTROL_BYTES_MAX = 16 * 1024
FRAME_INTENTS_MAX = 8
REFRESH_TICKS = 20
FORGET_TICKS = 3 * REFRESH_TICKS

# Refusals after which the same question is answered the same way everywhere.
FINAL_CODES = {
    "Version",
    "Malformed",
    "TooLarge",
    "TicketInvalid",
    "TicketExpired",
    "TicketUsed",
    "ZoneUnknown",
    "SessionUnknown",
    "Superseded",
    "Banned",
}


class WireError(Exception):
    """Bytes that are not of this protocol."""


# Control messages.


def frame(message) -> bytes:
    """A control message with its length before it."""
    body = msgpack.packb(message)
    return struct.pack("<I", len(body)) + body


def hello_with_ticket(ticket: bytes) -> bytes:
    return frame({"Hello": [PROTOCOL_VERSION, {"Ticket": ticket}]})


def hello_with_secret(zone: str, session: int, secret: list, epoch: int, event_seq: int) -> bytes:
    resume = [zone, session, secret, epoch, event_seq]
    return frame({"Hello": [PROTOCOL_VERSION, {"Resume": resume}]})


def logout() -> bytes:
    return frame("Logout")


class FrameReader:
    """Cuts the control stream into messages, whatever pieces it arrives in."""

    def __init__(self):
        self._buffer = bytearray()

    def push(self, data: bytes):
        """Yields each whole message as (name, fields)."""
        self._buffer += data
        while len(self._buffer) >= 4:
            (length,) = struct.unpack_from("<I", self._buffer)
            if length > CONTROL_BYTES_MAX:
                raise WireError(f"a control message of {length} bytes")
            if len(self._buffer) < 4 + length:
                return
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            yield variant(msgpack.unpackb(body, strict_map_key=False))


def variant(value):
    """An enum value: a bare name, or a map of one name to the fields."""
    if isinstance(value, str):
        return value, []
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    raise WireError(f"not an enum value: {value!r}")


def address(value) -> tuple:
    """A socket address as (host, port)."""
    family, (octets, port) = variant(value)
    if family == "V4":
        return ".".join(map(str, octets)), port
    groups = [octets[at] << 8 | octets[at + 1] for at in range(0, 16, 2)]
    return ":".join(f"{group:x}" for group in groups), port


# Datagrams.


class Reader:
    """Reads numbers off the front of a datagram."""

    def __init__(self, data: bytes):
        self._data = data
        self._at = 0

    def rest(self) -> int:
        return len(self._data) - self._at

    def fixed(self, form: str) -> int:
        size = struct.calcsize("<" + form)
        if self.rest() < size:
            raise WireError("the bytes end inside a value")
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += size
        return value

    def varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self.fixed("B")
            value |= (byte & 0x7F) << shift
            if byte & 0x80 == 0:
                return value
        raise WireError("a varint is too long")

    def zigzag(self) -> int:
        bits = self.varint()
        return bits >> 1 ^ -(bits & 1)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def entity_id(value: int) -> bytes:
    """Range and counter, a varint each."""
    return varint(value >> 32) + varint(value & 0xFFFFFFFF)


def move(dx: int, dy: int) -> bytes:
    return struct.pack("<Bbb", 1, dx, dy)


def give_gold(to: int, amount: int) -> bytes:
    return b"\x04" + entity_id(to) + varint(amount)


def say(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<BB", 6, len(data)) + data


def input_frame(epoch: int, snapshot_tick: int, event_ack: int, first_seq: int, intents: list) -> bytes:
    """An input datagram: `intents` are packed, consecutive, and `first_seq` is the number of the first."""
    data = b"\x02" + varint(epoch) + varint(snapshot_tick) + varint(event_ack)
    if intents:
        data += varint(first_seq) + b"".join(intents[:FRAME_INTENTS_MAX])
    return data


@dataclass
class Entity:
    """An entity as it was last told of."""

    id: int
    kind: int
    x: int
    y: int
    health: int
    dx: int
    dy: int
    told_at: int

    def at(self, tick: int) -> tuple:
        """Where it is, if it still moves as it was told."""
        ticks = tick - self.told_at
        return self.x + self.dx * ticks, self.y + self.dy * ticks


@dataclass
class Snapshot:
    """What one datagram of the owner says of a tick."""

    epoch: int
    tick: int
    unconfirmed_ticks: int
    dilation: int
    last_input_seq: int
    event_seq: int
    x: int
    y: int
    hp: int
    value_digest: int
    seen: list = field(default_factory=list)
    gone: list = field(default_factory=list)

    @property
    def confirmed(self) -> int:
        """The last tick that is stored: nobody takes it back."""
        return self.tick - self.unconfirmed_ticks


def read_snapshot(data: bytes) -> Snapshot:
    at = Reader(data)
    if at.fixed("B") != 1:
        raise WireError("not a snapshot")
    snapshot = Snapshot(
        epoch=at.varint(),
        tick=at.varint(),
        unconfirmed_ticks=at.varint(),
        dilation=at.fixed("B"),
        last_input_seq=at.varint(),
        event_seq=at.varint(),
        x=at.zigzag(),
        y=at.zigzag(),
        hp=at.varint(),
        value_digest=at.fixed("I"),
    )
    usual_range = at.varint()
    while at.rest():
        read_record(at, usual_range, snapshot)
    return snapshot


def read_record(at: Reader, usual_range: int, snapshot: Snapshot):
    flags = at.fixed("B")
    id_range = at.varint() if flags & 16 else usual_range
    entity = id_range << 32 | at.varint()
    kind = flags & 3
    if kind == 0:
        snapshot.gone.append(entity)
        return
    x, y = nearest(at.fixed("H"), snapshot.x), nearest(at.fixed("H"), snapshot.y)
    health = at.fixed("B") if flags & 4 else 255
    dx, dy = (at.fixed("b"), at.fixed("b")) if flags & 8 else (0, 0)
    snapshot.seen.append(Entity(entity, kind, x, y, health, dx, dy, snapshot.tick))


def nearest(low: int, near: int) -> int:
    """Of all numbers with these lower 16 bits, the one nearest to `near`."""
    offset = (low - near) & 0xFFFF
    return near + (offset - 0x10000 if offset >= 0x8000 else offset)


def value_digest(gold: int, items: list) -> int:
    """The digest by which a client checks purse and inventory; `items` are (uid, kind)."""
    packed = struct.pack("<Q", gold)
    for uid, kind in sorted(items):
        packed += struct.pack("<QH", uid, kind)
    return struct.unpack("<I", blake3.blake3(packed).digest()[:4])[0]
