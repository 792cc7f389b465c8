//! The report of a shard to the process that started it, as types: one JSON object a line. It writes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use everhold_protocol::{Epoch, Tick, ZoneName};
use serde::{Deserialize, Serialize};

use crate::durability::LagState;
use crate::durability::evidence::EvidenceOutcome;
use crate::load::Rung;
use crate::tick::TickStage;

/// A line of the report. Moments are milliseconds of `CLOCK_BOOTTIME`, which all processes of a host share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ShardEvent {
    /// Players may connect.
    Serving {
        /// The address to which players are sent.
        addr: SocketAddr,
        /// The address on which the shard listens: the same, unless `shard.advertise` says otherwise.
        listens: SocketAddr,
        /// The process's nonce.
        nonce: u64,
        /// Its process id: that of the server itself, not of a guardian.
        pid: u32,
    },
    /// A zone is owned and restored; its first tick follows.
    Adopted(AdoptionReport),
    /// A zone's run under this epoch so far; once a second.
    Stats(Box<ZoneRun>),
    /// The process's use of the machine; once a second.
    Process(ProcessRun),
    /// The zone ended in this process: another shard holds it, or the lease is gone.
    Ended {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of the ownership.
        epoch: Epoch,
        /// The reason, in words.
        reason: String,
        /// The last tick whose output left this process.
        released_tick: Tick,
    },
    /// The state of a zone's checkpoints has changed: an alarm, unless it is `fine`.
    CheckpointLag {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of the ownership.
        epoch: Epoch,
        /// The state.
        state: LagState,
        /// Ticks that an adopter would have to replay.
        lag_ticks: u64,
    },
    /// The archive has fallen behind a zone for long, or follows it again: an alarm, unless it is `fine`.
    ArchiveLag {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of the ownership.
        epoch: Epoch,
        /// The state.
        state: LagState,
        /// Ticks that the archive is behind.
        lag_ticks: u64,
    },
    /// An alarm: the store does not confirm a zone's records, so that what they tell is held. At durability `replica`
    /// too few of its replicas may have confirmed them. Said at the first one, and every half minute.
    Unconfirmed {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of the ownership.
        epoch: Epoch,
        /// The reason, in words.
        reason: String,
        /// Time since the first one, ms.
        lasted_ms: f64,
    },
    /// That alarm is over.
    ConfirmedAgain {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of the ownership.
        epoch: Epoch,
        /// Time for which nothing was confirmed, ms.
        lasted_ms: f64,
    },
    /// An alarm: the store has nothing whole of a zone, and the archive, which may, does not answer: the zone waits.
    /// Said at the first time of each try; the zone's adoption ends it.
    ArchiveAwaited {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of the ownership.
        epoch: Epoch,
        /// The reason, in words.
        reason: String,
    },
    /// The store has lost the zone, and no shard had it in memory, nor the archive: it begins again at tick 0.
    Lost {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of the ownership.
        epoch: Epoch,
    },
    /// This process cannot run a zone (other rules, layout, or world file): it did not claim it, or was granted it and
    /// has released it.
    Unfit {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of its owner: of the last one that hosted it, or of this process.
        epoch: Epoch,
        /// The reason, in words.
        reason: String,
    },
    /// An alarm: no shard has hosted a zone of the world for long.
    Unowned {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of its last owner.
        epoch: Epoch,
        /// Time since an owner was last seen to live, ms.
        lasted_ms: f64,
    },
    /// That alarm is over.
    OwnedAgain {
        /// The zone's name.
        zone: ZoneName,
        /// The epoch of its owner.
        epoch: Epoch,
        /// Time for which it had none, ms.
        lasted_ms: f64,
    },
    /// The process stops in good order.
    Stopped,
}

/// The adoption of a zone by the process that reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdoptionReport {
    /// The zone's name.
    pub zone: ZoneName,
    /// The epoch of the ownership.
    pub epoch: Epoch,
    /// The last tick of the history that was adopted.
    pub last_tick: Tick,
    /// The moment of the authority's grant, ms.
    pub granted_at_ms: f64,
    /// From the grant to the first tick, ms.
    pub adopt_ms: f64,
    /// Whether it was suspended in this very process and goes on without the store.
    pub from_memory: bool,
    /// The place where the history was found.
    #[serde(default)]
    pub source: HistorySource,
    /// Records replayed on top of the checkpoint.
    pub replayed_ticks: u64,
    /// Digests compared during the replay.
    pub checked_digests: u64,
    /// Whether all of them were equal.
    pub digest_equal: bool,
    /// Ticks that the store knew of and that are lost, because their records are damaged or missing; from the archive,
    /// those that an earlier owner may have told of after its last commit.
    #[serde(default)]
    pub rewound_ticks: u64,
    /// The most ticks that may be lost of a zone that goes on from the archive, if that did not lag: those of its
    /// interval, or those that are known to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_ticks_max: Option<u64>,
    /// Checkpoints that were given up, from the newest on, because they are damaged.
    #[serde(default)]
    pub checkpoints_given_up: u32,
    /// The outcome for the evidence, if a digest was not equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceOutcome>,
}

/// The place where an adopted history was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistorySource {
    /// The process that reports it had the zone in memory.
    Memory,
    /// The state store.
    #[default]
    Store,
    /// The archive: the state store had nothing whole.
    Archive,
    /// Nowhere: the zone begins.
    Nothing,
}

/// A zone's run under one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneRun {
    /// The zone's name.
    pub zone: ZoneName,
    /// The epoch of the ownership.
    pub epoch: Epoch,
    /// Ticks stepped.
    pub ticks: u64,
    /// The newest tick.
    pub tick: Tick,
    /// The newest tick whose output may leave the process.
    pub released_tick: Tick,
    /// Time since the first tick, s.
    pub seconds: f64,
    /// Attached sessions.
    pub players: u32,
    /// Characters that the zone has, in the world or at rest.
    #[serde(default)]
    pub characters: u32,
    /// Durations of a tick's work, without waiting for the next: `(µs, how often)`.
    pub tick_us: Vec<(u64, u64)>,
    /// Durations from a record's append to its acknowledgement: `(µs, how often)`.
    pub append_us: Vec<(u64, u64)>,
    /// Ticks per second since the line before.
    #[serde(default)]
    pub tick_rate: f64,
    /// Durations of the stages of a tick: `(µs, how often)` each. The record's way to the store is `append_us`.
    #[serde(default)]
    pub phases: BTreeMap<TickStage, Vec<(u64, u64)>>,
    /// Ticks that an adopter would have to replay, because no checkpoint covers them.
    #[serde(default)]
    pub checkpoint_lag_ticks: u64,
    /// Ticks that the archive is behind, if the zone is written into one.
    #[serde(default)]
    pub archive_lag_ticks: Option<u64>,
    /// Its load, as the overload ladder sees it.
    #[serde(default)]
    pub load: LoadRun,
}

/// A zone on the overload ladder. Arrays are in order of [`Rung::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadRun {
    /// The present rung.
    pub rung: Rung,
    /// A tick's length, in normal periods.
    pub stretch: f64,
    /// The zone's work as a share of what it can do; above 1 it is too much.
    pub strain: f64,
    /// Times that each rung was entered.
    pub entered: [u64; 6],
    /// Time on each rung, s.
    pub seconds: [f64; 6],
    /// Newcomers who wait.
    pub queued: u32,
    /// Newcomers who had to wait so far.
    pub queued_ever: u64,
    /// Newcomers who were refused so far, because there was no place in the queue either.
    pub refused: u64,
}

/// The machine's resources that a process uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessRun {
    /// Processor time of all its threads so far, ms, the kernel's work for them included.
    pub cpu_ms: u64,
    /// Share of its cores that it used since the line before.
    pub cpu_share: f64,
    /// Cores that it may use.
    pub cores: usize,
    /// Memory in use, bytes, where the kernel says so.
    pub rss_bytes: Option<u64>,
    /// Connections now.
    pub connections: usize,
    /// Connections that have not logged in yet.
    pub half_open: usize,
    /// The transport's counters.
    pub counters: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_as_an_older_shard_tells_it_is_read() {
        let line = r#"{"event":"stats","zone":"meadow","epoch":3,"ticks":9,"tick":70,"released_tick":69,"seconds":0.5,
            "players":2,"tick_us":[[100,9]],"append_us":[]}"#;
        let ShardEvent::Stats(run) = serde_json::from_str(line).unwrap() else {
            panic!("it is one of `Stats`")
        };
        assert_eq!((run.ticks, run.load), (9, LoadRun::default()));
    }

    #[test]
    fn an_adoption_is_told_in_one_flat_object() {
        let adoption = AdoptionReport {
            zone: "meadow".parse().unwrap(),
            epoch: Epoch(3),
            last_tick: Tick(70),
            granted_at_ms: 1.5,
            adopt_ms: 0.5,
            from_memory: false,
            source: HistorySource::Store,
            replayed_ticks: 9,
            checked_digests: 2,
            digest_equal: true,
            rewound_ticks: 4,
            loss_ticks_max: None,
            checkpoints_given_up: 1,
            evidence: None,
        };
        let line = r#"{"event":"adopted","zone":"meadow","epoch":3,"last_tick":70,"granted_at_ms":1.5,"adopt_ms":0.5,"#;
        let rest =
            r#""from_memory":false,"source":"store","replayed_ticks":9,"checked_digests":2,"digest_equal":true,"#;
        let damage = r#""rewound_ticks":4,"checkpoints_given_up":1}"#;
        let told = serde_json::to_string(&ShardEvent::Adopted(adoption)).unwrap();
        assert_eq!(told, format!("{line}{rest}{damage}"));
    }

    #[test]
    fn stages_are_told_by_name() {
        let stages: BTreeMap<TickStage, u8> = TickStage::ALL.map(|stage| (stage, 0)).into();
        let text = serde_json::to_string(&stages).unwrap();
        assert!(text.contains(r#""late":0"#) && text.contains(r#""egress":0"#), "{text}");
    }
}
