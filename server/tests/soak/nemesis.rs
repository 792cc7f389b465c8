//! A soak from its start to its verdict: the plan is carried out on real processes, everything is healed, and what
//! players were told is judged, with what shards and store say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use client_sim::SwarmReport;
use everhold_testing::proxy::Faults;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::diary::Diary;
use crate::figures::{Sample, growth};
use crate::form::{Form, SLOTS, StoreKind, TTL, ZONES};
use crate::plan::{self, AtFirst, Forgetting, Order, Strike};
use crate::play::Play;
use crate::shards::Shards;
use crate::store::Store;

/// Longest time from the end of all faults until every zone has its owner and every player plays: some leases, and a
/// busy machine.
const RECOVERY_MAX: Duration = Duration::from_secs(120);

/// Between two looks at processes and players.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Between two looks at the figures, at most, s.
const SAMPLE_S_MAX: u64 = 60;

/// A soak that runs.
pub(crate) struct Soak {
    form: Form,
    // Dropped in this order: processes, then what they use.
    shards: Shards,
    store: Store,
    play: Option<Play>,
    diary: Diary,
    log: PathBuf,
    samples: Vec<Sample>,
    /// Strikes that were carried out, by name, and how often.
    done: BTreeMap<String, usize>,
    findings: Vec<String>,
    begun: Instant,
    /// Time that the plan stood still, waiting for calm.
    held: Duration,
    sample_at: Duration,
    _directory: TempDir,
}

impl Soak {
    /// Starts store, shards, and players.
    pub(crate) fn start(form: Form) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{:?}-{}.log", form.store, form.seed));
        let store = Store::start(form.store, &directory.path().join("world"), form.seed);
        let file = File::create(&log).expect("the target directory can be written to");
        let shards = Shards::start(directory.path(), &store, file, form.seed);
        let play = Play::start(&form, &shards, shards.cluster.keys());
        Self {
            form,
            shards,
            store,
            play: Some(play),
            diary: Diary::new(),
            log,
            samples: Vec::new(),
            done: BTreeMap::new(),
            findings: Vec::new(),
            begun: Instant::now(),
            held: Duration::ZERO,
            sample_at: Duration::ZERO,
            _directory: directory,
        }
    }

    /// Carries out the plan, heals, and judges. It ends early if all is not well again in time.
    ///
    /// # Panics
    /// If something did not hold; with the seed, the command that repeats it, and all that happened.
    pub(crate) fn run(mut self) {
        self.tell(&format!("soak of {:?}: {}", self.form, self.form.command()));
        self.calm("at first");
        (self.begun, self.held) = (Instant::now(), Duration::ZERO);
        self.diary = Diary::new();
        for (at, order) in plan::draw(&self.form) {
            self.until(at);
            if !self.is_playing() || !self.findings.is_empty() {
                break;
            }
            self.diary.note(&format!("{order:?}"));
            self.carry_out(order);
        }
        if self.findings.is_empty() {
            self.until(Duration::from_secs(self.form.seconds));
            self.diary.note("everything is healed");
            self.calm("at the end");
        }
        if self.findings.is_empty() {
            let end = self.sample();
            match self.play.take().map(Play::finish) {
                Some(Ok(report)) => self.judge_players(&report),
                failed => self
                    .findings
                    .push(format!("the players did not come to an end: {failed:?}")),
            }
            let grown = end.map(|end| growth(&self.samples, self.form.seconds, &end));
            self.findings.extend(grown.unwrap_or_default());
        }
        self.judge_shards();
        if self.findings.is_empty()
            && let Err(error) = self.shards.cluster.stop()
        {
            self.findings.push(format!("not stopped in good order: {error:#}"));
        }
        self.conclude();
    }

    fn is_playing(&self) -> bool {
        self.play.as_ref().is_some_and(|play| !play.has_ended())
    }

    /// The time of the plan.
    fn now(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.held)
    }

    /// Looks after processes and figures until this moment of the plan.
    fn until(&mut self, at: Duration) {
        while self.now() < at && self.is_playing() {
            self.look();
            if self.now() >= self.sample_at {
                // A store that is away is looked at soon again.
                let mut every = 1;
                if let Some(sample) = self.sample() {
                    self.tell(&sample.to_string());
                    self.samples.push(sample);
                    every = (self.form.seconds / 6).clamp(1, SAMPLE_S_MAX);
                }
                self.sample_at = self.now() + Duration::from_secs(every);
            }
            std::thread::sleep(LOOK_EVERY.min(at.saturating_sub(self.now())));
        }
    }

    fn look(&mut self) {
        self.shards.look(&self.store, &mut self.diary);
    }

    fn sample(&mut self) -> Option<Sample> {
        Some(Sample {
            second: self.now().as_secs(),
            store: self.store.figures()?,
            rss_bytes: self.shards.rss_bytes(),
        })
    }

    fn carry_out(&mut self, order: Order) {
        let is_done = match order {
            Order::Begin(strike) => self.begin(strike),
            Order::End(strike) => {
                self.end(strike);
                true
            }
            Order::Forget(how) => {
                let is_calm = self.calm("before the store forgets");
                if is_calm {
                    let begun = Instant::now();
                    self.forget(how);
                    self.held += begun.elapsed();
                    self.calm("after the store has forgotten");
                }
                is_calm
            }
        };
        if !is_done {
            self.diary.note("  there was nothing to do it to");
        } else if !matches!(order, Order::End(_)) {
            let words = format!("{order:?}");
            let name: Vec<&str> = words.split(['(', ')', ',']).take(2).collect();
            *self.done.entry(name.join(" ")).or_default() += 1;
        }
    }

    /// Has the store forget everything, and a spare start at that moment: one that prefers a zone, if there is one.
    fn forget(&mut self, how: Forgetting) {
        let spare = self.shards.spare();
        if let Some(spare) = spare {
            self.diary
                .note(&format!("  with the spare in slot {spare} killed and started"));
            self.shards.end(spare, Signal::KILL);
        }
        match how {
            Forgetting::Flush => self.store.flush(),
            Forgetting::RestartEmpty => {
                self.store.kill();
                self.store.start_again_empty();
            }
            Forgetting::AwayAndEmpty => {
                self.store.kill();
                let gone = Instant::now();
                while gone.elapsed() < TTL * 3 / 2 {
                    self.look();
                    std::thread::sleep(LOOK_EVERY);
                }
                self.store.start_again_empty();
            }
        }
        if let Some(spare) = spare {
            self.shards.start_again(spare);
        }
    }

    fn begin(&mut self, strike: Strike) -> bool {
        match strike {
            Strike::Kill(slot) => self.shards.end(slot, Signal::KILL),
            Strike::Stop(slot) => self.shards.end(slot, Signal::TERM),
            Strike::Pause(slot) => self.shards.pause(slot),
            Strike::PlayerLink(slot, faults) => {
                self.shards.network(slot).set(faults);
                true
            }
            Strike::StoreLink(slot, faults, at_first) => {
                let link = self.store.link(slot);
                link.set(faults);
                if at_first == AtFirst::Reset {
                    link.reset();
                }
                true
            }
            Strike::StoreKill => {
                self.store.kill();
                true
            }
            Strike::StorePause => {
                self.store.pause();
                true
            }
            Strike::StoreFull => {
                self.store.set_full(true);
                true
            }
            Strike::FileLock(zone) => self.store.set_locked(zone, true),
        }
    }

    fn end(&mut self, strike: Strike) {
        match strike {
            Strike::Kill(slot) | Strike::Stop(slot) => self.shards.start_again(slot),
            Strike::Pause(slot) => self.shards.go_on(slot),
            Strike::PlayerLink(slot, _) => self.shards.network(slot).set(Faults::default()),
            Strike::StoreLink(slot, ..) => self.store.link(slot).heal(),
            Strike::StoreKill => self.store.start_again(),
            Strike::StorePause => self.store.go_on(),
            Strike::StoreFull => self.store.set_full(false),
            Strike::FileLock(zone) => drop(self.store.set_locked(zone, false)),
        }
    }

    /// Waits until all is well, with the plan standing still meanwhile. That it does not become so is a finding.
    fn calm(&mut self, when: &str) -> bool {
        let begun = Instant::now();
        let missing = loop {
            self.look();
            let missing = self.missing(begun);
            if missing.is_empty() || begun.elapsed() > RECOVERY_MAX || !self.is_playing() {
                break missing;
            }
            std::thread::sleep(LOOK_EVERY * 5);
        };
        self.held += begun.elapsed();
        self.diary
            .note(&format!("calm {when}: after {:.1} s", begun.elapsed().as_secs_f64()));
        if !missing.is_empty() {
            let players = self.play.as_ref().map_or_else(String::new, Play::state);
            let finding = format!("{when}, not within {RECOVERY_MAX:?}: {}; {players}", missing.join(", "));
            self.findings.push(finding);
        }
        missing.is_empty()
    }

    /// Returns what is not well, in words.
    fn missing(&self, since: Instant) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.shards.are_complete() {
            missing.push("every slot has its shard, and no other lives".to_owned());
        }
        if !self.shards.is_every_zone_owned() {
            let owners = ZONES.map(|zone| format!("{zone} {:?}", self.shards.owners(zone)));
            missing.push(format!("every zone has one owner ({})", owners.join(", ")));
        }
        if !self.play.as_ref().is_some_and(|play| play.do_all_play(since)) {
            missing.push("every player plays".to_owned());
        }
        if !missing.is_empty() {
            return missing;
        }
        match self.store.figures() {
            None => missing.push("the store answers".to_owned()),
            Some(store) => {
                let expected = [
                    ("zones are whole in the store", store.whole_zones, ZONES.len()),
                    ("homes are stored", store.homes, self.form.players),
                    ("shards are in the directory", store.shards, SLOTS),
                ];
                let is_missing = expected
                    .iter()
                    .filter(|(_, count, expected)| *count != *expected as u64);
                missing.extend(is_missing.map(|(what, count, expected)| format!("{expected} {what}, not {count}")));
            }
        }
        missing
    }

    fn judge_players(&mut self, report: &SwarmReport) {
        let value = format!(
            "gold {} of {}, things {} of {}",
            report.gold_found, report.gold_expected, report.items_found, report.items_expected
        );
        self.tell(&format!(
            "{} players: {} changes of owner, {} connections lost, {} unheard; lost {}, duplicated {}, rewound {}; \
             {value}",
            report.players,
            report.failovers.len(),
            report.lost_connections,
            report.unheard,
            report.lost_acknowledged,
            report.duplicated,
            report.rewound_ticks,
        ));
        if !report.is_clean() {
            let strays = report.failovers.iter().filter(|one| one.resumed != one.players);
            let strays = strays.map(|one| {
                let resumed = format!("{} of {} players", one.resumed, one.players);
                format!("{} {} -> {}: {resumed}", one.zone, one.from_epoch, one.to_epoch)
            });
            let all: Vec<String> = report.errors.iter().cloned().chain(strays).collect();
            self.findings
                .push(format!("players were told otherwise:\n  {}", all.join("\n  ")));
        }
        if report.rewound_ticks > 0 {
            self.findings.push(format!(
                "{} ticks that were shown were taken back",
                report.rewound_ticks
            ));
        }
    }

    fn judge_shards(&mut self) {
        self.findings.append(&mut self.shards.findings);
        let cluster = &self.shards.cluster;
        let mut granted = BTreeSet::new();
        for adoption in &cluster.adoptions {
            let report = &adoption.report;
            if !granted.insert((report.zone.clone(), report.epoch)) {
                self.findings.push(format!(
                    "{} was granted twice under epoch {}",
                    report.zone, report.epoch
                ));
            }
            if !report.digest_equal || report.rewound_ticks > 0 || report.checkpoints_given_up > 0 {
                self.findings
                    .push(format!("shard {} adopted with a loss: {report:?}", adoption.process));
            }
        }
        for (zone, epoch) in &cluster.lost {
            self.findings
                .push(format!("{zone} was lost, and began again under epoch {epoch}"));
        }
        for (process, zone, epoch) in &cluster.unfit {
            self.findings
                .push(format!("shard {process} could not run {zone}, epoch {epoch}"));
        }
        let from_memory = cluster.adoptions.iter().filter(|one| one.report.from_memory).count();
        self.diary.note(&format!(
            "{} adoptions, {from_memory} of them from memory, by {} processes",
            cluster.adoptions.len(),
            cluster.all.len()
        ));
        self.judge_leases();
    }

    /// The authority names the owner that each zone has, under the epoch that this owner says.
    fn judge_leases(&mut self) {
        let output = Command::new(env!("CARGO_BIN_EXE_everhold"))
            .args(["inspect", "--json"])
            .args(self.store.reader_arguments())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let rows = rows.as_array().cloned().unwrap_or_default();
        for zone in ZONES {
            let row = rows.iter().find(|row| row["zone"] == zone);
            let owners = self.shards.owners(zone);
            let told = row
                .filter(|row| !row["owner"].is_null())
                .and_then(|row| row["epoch"].as_u64());
            if owners.len() != 1 || told != Some(u64::from(owners[0].1.0)) {
                self.findings
                    .push(format!("{zone}: shards say {owners:?}, the authority {row:?}"));
            }
        }
    }

    #[expect(
        clippy::print_stdout,
        reason = "the figures of a soak are told, and its story if it fails"
    )]
    fn conclude(self) {
        let Self {
            form,
            diary,
            log,
            findings,
            samples,
            done,
            ..
        } = self;
        if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
            println!("{:?}, seed {}: from {first}\n  to {last}", form.store, form.seed);
        }
        let done: Vec<String> = done.iter().map(|(what, times)| format!("{what} {times}")).collect();
        println!(
            "{}\n{}",
            done.join(", "),
            diary.text().lines().last().unwrap_or_default()
        );
        assert!(
            findings.is_empty(),
            "soak with seed {} found:\n- {}\nwhat happened:\n{}\nthe shards' log is {}\nrepeat it: {}",
            form.seed,
            findings.join("\n- "),
            diary.text(),
            log.display(),
            form.command()
        );
        // Of no use to a soak that has found nothing.
        let _gone = std::fs::remove_file(log);
    }

    #[expect(clippy::print_stdout, reason = "the figures of a soak are told while it runs")]
    fn tell(&self, line: &str) {
        println!("{line}");
    }
}

/// Runs a soak on this store.
pub(crate) fn soak(store: StoreKind) {
    Soak::start(Form::asked_for(store)).run();
}
