"""One player's session over QUIC (aioquic): log-in, play, fail-over. PROTOCOL.md tells what each answer asks of a client."""

import asyncio
import contextlib
import functools
import ssl
import time
from collections import deque

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

import wire

SILENCE_S = 0.25
FRAME_S = 0.05
ANSWER_S = 3.0
RETRY_S = 0.25
RETRY_S_MAX = 2.0
OVERLOADED_S = 10.0
KEEP_ALIVE_S = 3.0
UNCONFIRMED_MAX = 128
EARLY_DATAGRAMS_MAX = 8
REDIRECTS_MAX = 4


class Refused(Exception):
    """A refusal that another try would not change."""


class Fault(Exception):
    """The server broke a promise of the protocol."""


class Link(QuicConnectionProtocol):
    """A QUIC connection that speaks, or may come to speak, for the session."""

    def __init__(self, *args, session, addr, **kwargs):
        super().__init__(*args, **kwargs)
        self.session = session
        self.addr = addr
        self.over = asyncio.Event()
        self.waits = False
        self.early = []
        self._frames = wire.FrameReader()
        self._control = None

    def greet(self, hello: bytes):
        self._control = self._quic.get_next_available_stream_id()
        self.say(hello)

    def say(self, data: bytes):
        self._quic.send_stream_data(self._control, data)
        self.transmit()

    def send_datagram(self, data: bytes):
        self._quic.send_datagram_frame(data)
        self.transmit()

    def quic_event_received(self, event):
        if isinstance(event, events.HandshakeCompleted):
            self.session.on_up(self)
        elif isinstance(event, events.StreamDataReceived):
            for name, fields in self._frames.push(event.data):
                self.session.on_message(self, name, fields)
        elif isinstance(event, events.DatagramFrameReceived):
            self.session.on_datagram(self, event.data)
        elif isinstance(event, events.ConnectionTerminated):
            self.over.set()
            self.session.on_lost(self, event.error_code)


class Session:
    """A player. `run` keeps the session alive until `leave`; the caller reads its fields and pushes intents."""

    def __init__(self, name: str, addresses: list, certificate: str, ticket: bytes, on_event=None):
        self.name = name
        self.epoch = 0
        self.zone = None
        self.id = None
        self.gold = 0
        self.items = {}
        self.entities = {}
        self.view = None
        self.attaches = []
        self._addresses = addresses
        self._certificate = certificate
        self._ticket = ticket
        self._on_event = on_event or (lambda seq, tick, event, fields: None)
        self._secret = None
        self._peers = []
        self._event_seq = 0
        self._exact_from = 0
        self._next_seq = 1
        self._unconfirmed = deque()
        self._applied = deque()
        self._active = None
        self._candidate = None
        self._links = set()
        self._heard_at = 0.0
        self._targets = deque()
        self._retry_at = 0.0
        self._retry_s = RETRY_S
        self._redirects = 0
        self._answer_by = None
        self._led_to = None
        self._leaving = False
        self._end = None

    # What the caller does.

    def push(self, intent: bytes) -> int:
        """Queues an intent and returns its number. It is sent again and again until a snapshot shows it as applied, and
        to the next owner if it was not confirmed."""
        if len(self._unconfirmed) >= UNCONFIRMED_MAX:
            raise Fault(f"{self.name}: nothing was confirmed for {UNCONFIRMED_MAX} intents")
        seq = self._next_seq
        self._next_seq += 1
        self._unconfirmed.append((seq, intent))
        return seq

    @property
    def is_attached(self) -> bool:
        return self._active is not None

    @property
    def is_settled(self) -> bool:
        """Everything that was asked for has been answered."""
        return self.is_attached and not self._unconfirmed

    async def run(self):
        """Plays until `leave` is answered. Raises what ends the session otherwise."""
        try:
            while self._end is None:
                self._take_turn()
                speed = self.view.dilation / 255 if self.view else 1
                await asyncio.sleep(FRAME_S / max(speed, 0.2))
            if self._end != "Bye":
                raise self._end
        finally:
            for task in list(self._links):
                task.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)

    def leave(self):
        """Ends the session by the player's wish. Only an attached connection can carry it: raises `Fault` if there is none."""
        if not self._active:
            raise Fault(f"{self.name}: not attached, and so not logged out")
        self._leaving = True
        self._active.say(wire.logout())

    # What happens.

    def on_up(self, link: Link):
        if link is not self._candidate:
            return
        # A ticket is good once, and its answer is held back until the log-in is stored: only the connection's end ends that wait.
        self._answer_by = time.monotonic() + ANSWER_S if self._secret else None
        link.greet(self._hello())

    def on_message(self, link: Link, name: str, fields):
        if link not in (self._active, self._candidate):
            return
        self._hear(link)
        if name == "Attached":
            self._attach(link, *fields)
        elif name == "Event" and link is self._active:
            self._take_event(*fields)
        elif name == "Peers" and link is self._active:
            self._peers = [wire.address(value) for value in fields]
        elif name == "Redirect":
            self._follow(link, wire.address(fields[0]), fields[1])
        elif name in ("Wait", "Queued") and link is self._candidate:
            link.waits = True
            self._answer_by = None
        elif name == "Superseded":
            self._refuse(link, "Superseded", "another connection speaks for the session")
        elif name == "Refused":
            self._refuse(link, *fields)

    def on_datagram(self, link: Link, data: bytes):
        if link is self._active:
            self._hear(link)
            self._show(wire.read_snapshot(data))
        elif link is self._candidate:
            # The first snapshots may overtake `Attached`, which is on the stream.
            if len(link.early) < EARLY_DATAGRAMS_MAX:
                link.early.append(data)

    def on_lost(self, link: Link, code: int):
        if link is self._active:
            self._active = None
            if self._leaving:
                self._end = "Bye" if code == 0 else self._unheard()
            self._search_now()
        elif link is self._candidate:
            self._candidate = None

    # The session's life.

    def _take_turn(self):
        now = time.monotonic()
        if self._active and not self._leaving:
            applied = self.view.last_input_seq if self.view else 0
            wanted = [(seq, intent) for seq, intent in self._unconfirmed if seq > applied][: wire.FRAME_INTENTS_MAX]
            first = wanted[0][0] if wanted else 0
            intents = [intent for _, intent in wanted]
            tick = self.view.tick if self.view else 0
            ack = self._event_seq
            self._active.send_datagram(wire.input_frame(self.epoch, tick, ack, first, intents))
        if self._candidate and self._answer_by and now > self._answer_by:
            self._drop(self._candidate)
        is_silent = now - self._heard_at > SILENCE_S
        if (self._active is None or is_silent) and self._candidate is None and now >= self._retry_at:
            self._ask_next(now)

    def _hear(self, link: Link):
        if link is not self._active:
            return
        self._heard_at = time.monotonic()
        # The owner was only silent. A candidate whose `Hello` is under way is kept: its answer decides.
        if self._candidate and self._candidate.waits:
            self._drop(self._candidate)

    def _search_now(self):
        self._targets.clear()
        self._retry_at = 0.0

    def _ask_next(self, now: float):
        if not self._targets:
            known = dict.fromkeys(self._peers + self._addresses)
            self._targets.extend(known)
            if self._retry_at:
                self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)
        addr = self._targets.popleft()
        if self._active and addr == self._active.addr:
            return
        if not self._targets:
            self._retry_at = now + self._retry_s
        self._redirects = 0
        self._open(addr)

    def _open(self, addr: tuple, zone: str | None = None):
        self._led_to = zone
        self._answer_by = time.monotonic() + ANSWER_S
        task = asyncio.get_running_loop().create_task(self._run_link(addr))
        self._candidate = task  # Until the socket is open, its task stands for it.
        self._links.add(task)
        task.add_done_callback(self._links.discard)

    async def _run_link(self, addr: tuple):
        task = asyncio.current_task()
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=[wire.ALPN],
            server_name="everhold",
            max_datagram_frame_size=65_535,
            idle_timeout=10.0,
            verify_mode=ssl.CERT_REQUIRED,
        )
        configuration.load_verify_locations(cafile=self._certificate)
        protocol = functools.partial(Link, session=self, addr=addr)
        with contextlib.suppress(ConnectionError, OSError, asyncio.TimeoutError):
            opening = connect(*addr, configuration=configuration, create_protocol=protocol, wait_connected=False)
            async with opening as link:
                if self._candidate is task:
                    self._candidate = link
                    await self._keep_alive(link)
        if self._candidate is task:
            self._candidate = None

    async def _keep_alive(self, link: Link):
        while link in (self._active, self._candidate) and not link.over.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(link.over.wait(), KEEP_ALIVE_S)
            if not link.over.is_set():
                link._quic.send_ping(0)
                link.transmit()

    def _hello(self) -> bytes:
        if self._secret is None:
            return wire.hello_with_ticket(self._ticket)
        # Epochs of two zones do not compare: of one that it was led to it has seen none.
        zone = self._led_to or self.zone
        epoch = self.epoch if zone == self.zone else 0
        return wire.hello_with_secret(zone, self.id, self._secret, epoch, self._event_seq)

    def _drop(self, link):
        """Closes a connection that is not to speak for the session any more."""
        if self._candidate is link:
            self._candidate = None
        if isinstance(link, Link):
            link.close()
            link.over.set()
        else:
            link.cancel()

    def _attach(self, link, epoch, zone, session, secret, _hz, tick, last_input, event_seq, forgotten, rewound, own, peers):
        if self._secret and (session != self.id or (zone == self.zone and epoch < self.epoch)):
            return self._drop(link)
        is_first = self._secret is None
        if link is self._candidate:
            before, self._active, self._candidate = self._active, link, None
            if before:
                self._drop(before)
        if is_first:
            self._event_seq = forgotten
            self._next_seq = last_input + 1
        elif event_seq < self._event_seq:
            raise Fault(f"{self.name}: events {event_seq + 1} to {self._event_seq} are lost")
        # Those between were forgotten while we were away: what became of them is in `own`.
        self._event_seq = max(self._event_seq, forgotten)
        self.epoch, self.zone, self.id, self._secret = epoch, zone, session, secret
        self._peers = [wire.address(value) for value in peers]
        x, y, hp, self.gold, items = own
        self.items = {uid: kind for uid, kind in items}
        self._exact_from = event_seq
        self.entities.clear()
        self.view = wire.Snapshot(epoch, tick - 1, 0, 255, last_input, event_seq, x, y, hp, 0)
        self._applied.clear()
        self._confirm(last_input)
        self._retry_s, self._redirects, self._answer_by = RETRY_S, 0, None
        self._heard_at = time.monotonic()
        self.attaches.append({"epoch": epoch, "zone": zone, "tick": tick, "rewound": rewound})
        for data in link.early:
            self._show(wire.read_snapshot(data))

    def _follow(self, link: Link, addr: tuple, zone: str):
        if link is self._active and self._leaving:
            # It does not serve the session, and so has stored no log-out.
            self._end = self._unheard()
            return
        if link is self._active:
            self._search_now()
            if self._candidate is not None:
                return
        else:
            self._drop(link)
        self._redirects += 1
        if self._redirects <= REDIRECTS_MAX:
            self._open(addr, zone)
        else:
            # They lead in a circle: another shard is asked, after a pause.
            self._retry_at = time.monotonic() + self._retry_s

    def _unheard(self) -> Exception:
        return Refused(f"{self.name}: nobody has said that the log-out is stored")

    def _refuse(self, link: Link, code: str, detail: str):
        if link is self._active and self._leaving:
            self._end = self._unheard()
        elif code == "Superseded" and link is self._active and self._candidate:
            # By our own other connection, whose `Attached` is under way.
            self._active = None
        elif code in wire.FINAL_CODES:
            self._end = Refused(f"{self.name}: {code}: {detail}")
        else:
            pause = OVERLOADED_S if code == "Overloaded" else self._retry_s
            self._retry_at = time.monotonic() + pause
            if link is self._active:
                self._active = None
            self._drop(link)

    def _show(self, snapshot: wire.Snapshot):
        if snapshot.epoch != self.epoch or snapshot.tick <= self.view.tick:
            return
        self.view = snapshot
        for entity in snapshot.seen:
            if entity.id != self.id:
                self.entities[entity.id] = entity
        for entity in snapshot.gone:
            self.entities.pop(entity, None)
        fresh = snapshot.tick - wire.FORGET_TICKS
        self.entities = {key: entity for key, entity in self.entities.items() if entity.told_at > fresh}
        # An intent is confirmed when the tick is stored that had it applied.
        if not self._applied or snapshot.last_input_seq > self._applied[-1][1]:
            self._applied.append((snapshot.tick, snapshot.last_input_seq))
        while self._applied and self._applied[0][0] <= snapshot.confirmed:
            self._confirm(self._applied.popleft()[1])
        is_exact = snapshot.event_seq == max(self._event_seq, self._exact_from)
        if is_exact and snapshot.value_digest != wire.value_digest(self.gold, list(self.items.items())):
            raise Fault(f"{self.name}: purse and inventory are not what the events say")

    def _confirm(self, last_input: int):
        while self._unconfirmed and self._unconfirmed[0][0] <= last_input:
            self._unconfirmed.popleft()

    def _take_event(self, seq: int, tick: int, event):
        if seq <= self._event_seq:
            return
        if seq > self._event_seq + 1:
            raise Fault(f"{self.name}: event {seq} follows {self._event_seq}")
        self._event_seq = seq
        name, fields = wire.variant(event)
        # What the session's `Attached` says of purse and inventory covers the events up to it.
        if seq > self._exact_from:
            if name == "Gold":
                self.gold = fields[0]
            elif name == "ItemGained":
                uid, kind = fields[0]
                self.items[uid] = kind
            elif name == "ItemLost":
                self.items.pop(fields[0][0], None)
        self._on_event(seq, tick, name, fields)
