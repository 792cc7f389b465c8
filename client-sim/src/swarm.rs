//! A swarm of players on one thread: they join, play, settle, and leave. It decides nothing for them and judges
//! nothing.
//!
//! The loop looks at the sockets about once a millisecond and gives each player its frame at the player's own time. It
//! is an open loop: what a player wants does not wait for what the server answers, and latencies count from when an
//! intent should have been sent.

mod config;
mod drops;
mod failover;
mod frame_lag;
mod player;
mod stay;
mod tally;
mod unconfirmed;
mod watch;
mod wheel;

use std::time::{Duration, Instant};

use everhold_protocol::Account;
use everhold_protocol::client::ClientConfig;

pub use self::config::{Control, SwarmConfig, SwarmError, SwarmPhase, SwarmProgress, ZONES_DEFAULT, ZoneProgress};

use self::config::seconds;
use self::frame_lag::FrameLag;
use self::player::{Life, SwarmContext, SwarmPlayer};
use self::tally::Tally;
use self::watch::SwarmWatch;
use self::wheel::Wheel;
use crate::behavior::Decider;
use crate::checker::Checker;
use crate::keys::PlayerKeys;
use crate::net::{Net, NetError, Traffic};
use crate::report::{RunOrigin, SimulatorHealth, SwarmReport, ZonePlayers};

/// A frame of every player, at 20 Hz.
const FRAME: Duration = Duration::from_millis(50);
/// The client machine counts its frames from its attach, the swarm from the wheel. A machine that believes in slightly
/// shorter frames always has one ready when the wheel comes round, also right after a late one.
const MACHINE_FRAME_MS: u64 = 40;
/// The loop looks at the sockets at least so often.
const LOOK: Duration = Duration::from_millis(1);
/// Players that are out of touch are woken so often, outside their frames: they must not take longer to find a new
/// owner than a real client.
const SWEEP: Duration = Duration::from_millis(5);
/// Batches that are taken in before anybody's time-outs are looked at: what waits in the sockets after a hold-up of the
/// simulator must not count as a server's silence.
const RECEIVE_ROUNDS_MAX: usize = 32;
/// Frames that share one look at the clock.
const CLOCK_FRAMES: usize = 16;
/// Players on their way in at the same time: more would only queue for the servers' handshakes, and time out there.
const JOINING_MAX: usize = 128;
/// Players that share a socket.
const PLAYERS_PER_SOCKET: usize = 512;
/// Sockets of an address family.
const SOCKETS_MAX: usize = 16;
/// Period of the checks whether every player has heard everything.
const SETTLE_LOOK: Duration = Duration::from_millis(20);
/// Longest wait for log-outs and closing connections.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Runs a swarm to its end on the calling thread. `observer` is called about four times a second.
///
/// # Errors
/// Orders, keys, and sockets that cannot be used, and players that do not get in. What goes wrong later is in the
/// report.
pub fn run(
    config: SwarmConfig,
    observer: &mut dyn FnMut(&SwarmProgress) -> Control,
) -> Result<SwarmReport, SwarmError> {
    let mut swarm = Swarm::new(config)?;
    swarm.join(observer)?;
    swarm.go_on(SwarmPhase::WarmingUp, swarm.config.warm_up_s, observer)?;
    let played = swarm.play(observer)?;
    swarm.settle(observer)?;
    swarm.leave()?;
    Ok(swarm.report(played))
}

/// Figures of the play itself, without joining and settling.
struct Played {
    seconds: f64,
    traffic: Traffic,
    health: SimulatorHealth,
}

struct Swarm {
    config: SwarmConfig,
    keys: PlayerKeys,
    net: Net,
    checker: Checker,
    tally: Tally,
    /// Players that have begun to join.
    players: Vec<SwarmPlayer>,
    wheel: Wheel,
    lag: FrameLag,
    watch: SwarmWatch,
    origin: Instant,
    sweep_at: Instant,
    silence: Duration,
    plays: bool,
}

impl Swarm {
    fn new(config: SwarmConfig) -> Result<Self, SwarmError> {
        config.check()?;
        let keys = PlayerKeys::load(&config.keys)?;
        let sockets = config.players.div_ceil(PLAYERS_PER_SOCKET).min(SOCKETS_MAX);
        let net = Net::new(keys.certificates().to_vec(), sockets)?;
        let origin = Instant::now();
        Ok(Self {
            net,
            checker: Checker::new(config.players),
            tally: Tally::new(config.players, &config.zones),
            players: Vec::with_capacity(config.players),
            wheel: Wheel::new(config.players, FRAME, Duration::ZERO),
            lag: FrameLag::start(FRAME),
            watch: SwarmWatch::new(origin),
            origin,
            sweep_at: origin,
            silence: Duration::from_millis(ClientConfig::default().silence_ms),
            plays: true,
            keys,
            config,
        })
    }

    /// Lets players in at the configured rate until all are attached.
    fn join(&mut self, observer: &mut dyn FnMut(&SwarmProgress) -> Control) -> Result<(), SwarmError> {
        let deadline = self.origin + seconds(self.config.join_deadline_s);
        let pause = Duration::from_secs(1) / self.config.joins_per_s;
        let mut next_at = self.origin;
        loop {
            let now = Instant::now();
            let attached = self.count(|player| *player.life() == Life::Playing);
            if attached == self.config.players {
                return Ok(());
            }
            if now >= deadline || self.count(|player| *player.life() == Life::Ended) > 0 {
                return Err(self.join_failure(attached));
            }
            // Silent players knock elsewhere, which costs the servers as much as a join.
            let joining = self.count(|player| *player.life() == Life::Joining || player.is_silent());
            if self.players.len() < self.config.players && joining < JOINING_MAX && now >= next_at {
                self.start_player(now)?;
                // A rate is not made up for: a burst of late joins would only queue.
                next_at = (next_at + pause).max(now);
            }
            self.turn()?;
            if self.watch(SwarmPhase::Joining, observer) == Control::Stop {
                return Err(SwarmError::Stopped);
            }
        }
    }

    fn join_failure(&self, attached: usize) -> SwarmError {
        let out = self.players.iter().find(|player| *player.life() != Life::Playing);
        let trouble = out.map_or("it had no turn yet", SwarmPlayer::last_trouble).to_owned();
        let (players, seconds) = (self.config.players, self.config.join_deadline_s);
        SwarmError::JoinDeadline {
            attached,
            players,
            seconds,
            trouble,
        }
    }

    fn start_player(&mut self, now: Instant) -> Result<(), SwarmError> {
        let index = self.players.len();
        let SwarmConfig {
            zones,
            connect,
            seed,
            behavior,
            spot,
            first_account,
            ..
        } = &self.config;
        let zone = zones[index % zones.len()].clone();
        let ticket = self.keys.ticket(Account(first_account + index as u64), zone)?;
        let mut addrs = connect.clone();
        // Each zone's players spread over all shards, whatever the numbers of zones and shards have in common.
        addrs.rotate_left(index / zones.len() % connect.len());
        let machine_seed = seed.wrapping_add(index as u64);
        let client = SwarmPlayer::machine(self.machine_config(), ticket, addrs, machine_seed);
        let decider = Decider::new(*behavior, *seed, index as u32).bound_for(*spot);
        self.players.push(SwarmPlayer::new(index as u32, decider, client));
        self.with_player(index, now, SwarmPlayer::start)?;
        Ok(())
    }

    /// Plays for so many seconds, or until the observer has had enough.
    fn go_on(
        &mut self,
        phase: SwarmPhase,
        for_s: f64,
        observer: &mut dyn FnMut(&SwarmProgress) -> Control,
    ) -> Result<(), SwarmError> {
        let end = Instant::now() + seconds(for_s);
        while Instant::now() < end {
            self.turn()?;
            if self.watch(phase, observer) == Control::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Plays for the configured time, measured.
    fn play(&mut self, observer: &mut dyn FnMut(&SwarmProgress) -> Control) -> Result<Played, SwarmError> {
        let start = Instant::now();
        let before = self.net.traffic();
        let dropped_before = drops::dropped_packets(&self.net.local_ports());
        self.lag = FrameLag::start(FRAME);
        let missed_before = self.wheel.missed();
        self.tally.begin_play();
        self.watch.start_running(start);
        self.go_on(SwarmPhase::Running, self.config.seconds, observer)?;
        let traffic = self.net.traffic().since(&before);
        let dropped = drops::dropped_packets(&self.net.local_ports()).saturating_sub(dropped_before);
        let health = self.lag.health(&traffic, dropped, self.wheel.missed() - missed_before);
        Ok(Played {
            seconds: start.elapsed().as_secs_f64(),
            traffic,
            health,
        })
    }

    /// Wants nothing more, and waits until every player has heard everything that follows from what all wanted.
    fn settle(&mut self, observer: &mut dyn FnMut(&SwarmProgress) -> Control) -> Result<(), SwarmError> {
        self.plays = false;
        let deadline = Instant::now() + seconds(self.config.settle_deadline_s);
        let mut look_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= look_at || now >= deadline {
                look_at = now + SETTLE_LOOK;
                let unsettled = self.unsettled();
                if unsettled.is_empty() || now >= deadline {
                    self.take_final_state(&unsettled);
                    self.watch.now(
                        SwarmPhase::Done,
                        &self.players,
                        &mut self.tally,
                        self.net.traffic(),
                        observer,
                    );
                    return Ok(());
                }
            }
            self.turn()?;
            // A second wish to stop changes nothing: the settling has its own bound.
            self.watch(SwarmPhase::Settling, observer);
        }
    }

    /// Players that have not heard everything, and why.
    fn unsettled(&self) -> Vec<(usize, &'static str)> {
        let mut horizons = vec![None; self.tally.zones.len()];
        for player in &self.players {
            if let Some(covered_at) = player.covered() {
                let horizon = &mut horizons[player.zone()];
                *horizon = covered_at.max(*horizon);
            }
        }
        let reasons = self
            .players
            .iter()
            .map(|player| player.unsettled(horizons[player.zone()]));
        reasons
            .enumerate()
            .filter_map(|(index, reason)| Some((index, reason?)))
            .collect()
    }

    fn take_final_state(&mut self, unsettled: &[(usize, &'static str)]) {
        let mut settled = vec![true; self.players.len()];
        for (index, reason) in unsettled {
            settled[*index] = false;
            self.tally.errors.add(format!(
                "player {index} {reason} {} s after the end",
                self.config.settle_deadline_s
            ));
        }
        let malformed: u64 = self.players.iter().map(SwarmPlayer::malformed_datagrams).sum();
        if malformed > 0 {
            self.tally
                .errors
                .add(format!("{malformed} datagrams were no snapshots"));
        }
        for index in (0..settled.len()).filter(|index| settled[*index]) {
            self.checker.on_settled(index);
            self.players[index].on_settled();
        }
    }

    fn leave(&mut self) -> Result<(), SwarmError> {
        let deadline = Instant::now() + LEAVE_MAX;
        for index in 0..self.players.len() {
            self.with_player(index, Instant::now(), SwarmPlayer::leave)?;
        }
        let mut waiting = self.players.len();
        while waiting > 0 && Instant::now() < deadline {
            self.turn()?;
            waiting = self.count(|player| *player.life() == Life::Playing);
        }
        if waiting > 0 {
            self.tally
                .errors
                .add(format!("{waiting} players could not log out within {LEAVE_MAX:?}"));
        }
        while self.net.connections() > 0 && Instant::now() < deadline {
            self.turn()?;
        }
        Ok(())
    }

    fn report(self, played: Played) -> SwarmReport {
        let Self {
            config,
            checker,
            tally,
            players,
            origin,
            ..
        } = self;
        let failovers = failover::failovers(&players, &tally);
        let first = config.first_account;
        let stays = players.iter().zip(first..);
        let stays = stays.filter_map(|(player, account)| player.stay(Account(account)));
        let zones = tally.zones.iter().enumerate().map(|(index, zone)| ZonePlayers {
            name: zone.name.to_string(),
            players: players.iter().filter(|player| player.zone() == index).count(),
        });
        let per_player_s = |count: u64| count as f64 / config.players as f64 / played.seconds.max(f64::MIN_POSITIVE);
        let mut report = SwarmReport {
            players: config.players,
            seconds: played.seconds,
            behavior: config.behavior,
            zones: zones.collect(),
            update_latency_ms: tally.update.percentiles(),
            update_latency_us: tally.update.buckets_us(),
            steady_latency_ms: tally.steady.percentiles(),
            confirmation_latency_ms: tally.confirmation.percentiles(),
            confirmation_latency_us: tally.confirmation.buckets_us(),
            bytes_down_per_player_s: per_player_s(played.traffic.udp_bytes_in),
            bytes_up_per_player_s: per_player_s(played.traffic.udp_bytes_out),
            packets_down_per_player_s: per_player_s(played.traffic.packets_in),
            packets_up_per_player_s: per_player_s(played.traffic.packets_out),
            view_entities_mean: tally.view_entities_mean(),
            lost_connections: tally.lost_connections,
            failovers,
            intents: tally.intents,
            intents_refused: tally.intents_refused,
            errors: tally.errors.into_lines(),
            simulator: played.health,
            stays: stays.collect(),
            origin: RunOrigin(origin),
            ..SwarmReport::default()
        };
        report.take_verdict(checker.into_verdict());
        report
    }

    /// Runs one turn of the loop: takes in packets, gives players their frames, sends what has to go out. It takes
    /// about a millisecond.
    fn turn(&mut self) -> Result<(), NetError> {
        let mut more = true;
        for _ in 0..RECEIVE_ROUNDS_MAX {
            more = self.net.receive()?;
            self.deliver()?;
            if !more {
                break;
            }
        }
        self.frames()?;
        self.sweep()?;
        self.net.turn(Instant::now());
        if !more {
            let rest = (self.origin + self.wheel.next_at()).saturating_duration_since(Instant::now());
            std::thread::sleep(rest.min(LOOK));
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), NetError> {
        while let Some((owner, at, event)) = self.net.poll_event() {
            self.with_player(owner.player as usize, at, |player, stage| {
                player.on_net(owner, event, stage)
            })?;
        }
        Ok(())
    }

    fn frames(&mut self) -> Result<(), NetError> {
        while let Some(due) = self.wheel.next(self.origin.elapsed()) {
            let mut now = Instant::now();
            let plays = self.plays;
            for index in due.players.start..due.players.end.min(self.players.len()) {
                if index % CLOCK_FRAMES == 0 {
                    now = Instant::now();
                }
                self.lag
                    .record_frame(now.saturating_duration_since(self.origin + due.at));
                self.take_in(index)?;
                self.with_player(index, now, |player, stage| player.frame(due.at, plays, stage))?;
            }
        }
        self.net.flush();
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), NetError> {
        let now = Instant::now();
        if now < self.sweep_at {
            return Ok(());
        }
        self.sweep_at = now + SWEEP;
        let since = now.saturating_duration_since(self.origin);
        for index in 0..self.players.len() {
            if self.players[index].is_restless(since, self.silence) {
                self.take_in(index)?;
                self.with_player(index, now, SwarmPlayer::wake)?;
            }
        }
        Ok(())
    }

    /// Lets one player hear what has waited for it.
    fn take_in(&mut self, index: usize) -> Result<(), NetError> {
        self.players[index].take_in(&mut self.net);
        self.deliver()
    }

    /// Lets one player act on the stage that all share.
    fn with_player<T>(
        &mut self,
        index: usize,
        now: Instant,
        act: impl FnOnce(&mut SwarmPlayer, &mut SwarmContext<'_>) -> T,
    ) -> T {
        let Self {
            net,
            checker,
            tally,
            players,
            origin,
            ..
        } = self;
        act(
            &mut players[index],
            &mut SwarmContext {
                net,
                checker,
                tally,
                origin: *origin,
                now,
            },
        )
    }

    fn watch(&mut self, phase: SwarmPhase, observer: &mut dyn FnMut(&SwarmProgress) -> Control) -> Control {
        if !self.watch.is_due(Instant::now()) {
            return Control::Continue;
        }
        self.watch
            .now(phase, &self.players, &mut self.tally, self.net.traffic(), observer)
    }

    fn machine_config(&self) -> ClientConfig {
        ClientConfig {
            frame_ms: MACHINE_FRAME_MS,
            rest_frames: self.config.rest_frames,
            ..ClientConfig::default()
        }
    }

    fn count(&self, wanted: impl Fn(&SwarmPlayer) -> bool) -> usize {
        self.players.iter().filter(|player| wanted(player)).count()
    }
}
