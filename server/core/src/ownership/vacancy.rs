//! Zones without an owner: when that is an alarm, and when it is over. It reads no clock and asks no authority itself.
//!
//! A zone has an owner if a shard holds its lease, renews it, and says in it that it hosts the zone: one that was
//! granted the zone and adopts it serves no players yet. In a healthy cluster a zone whose owner died is claimed after
//! a ttl and adopted soon after that, so three of them are a failure that does not mend itself: no shard has room, none
//! can run the zone, its data is damaged, or one after the other fails. Every shard that watches the zone says so, for
//! one alone may be the one whose report is not read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use everhold_protocol::{Epoch, ZoneName};

use super::authority::{LeaseView, Leases};
use super::grant::Nonce;

/// A zone without an owner for so many ttls is an alarm: one to find its owner dead, and two for its adoption.
const ALARM_TTLS: u32 = 3;

/// The same of a zone that was never held: shards that do not prefer it declare and claim it only after three ttls, and
/// no player waits for it.
const NEVER_HELD_ALARM_TTLS: u32 = 6;

/// A zone that no shard hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacancy {
    /// The zone.
    pub zone: ZoneName,
    /// The highest epoch that its lease has shown; that of no owner, if it has no lease.
    pub epoch: Epoch,
    /// The time since an owner was last seen to live, or since the first look.
    pub lasted: Duration,
}

/// A change of a zone's alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VacancyNews {
    /// It is raised: the zone has had no owner for too long.
    Raised(Vacancy),
    /// It is over: a shard hosts the zone again.
    Over(Vacancy),
}

/// The zones of a world, each as it was last seen to be hosted.
#[derive(Debug)]
pub(super) struct Vacancies {
    ttl: Duration,
    /// Time between two looks beyond which nothing is known of what happened between them.
    look_gap: Duration,
    zones: BTreeMap<ZoneName, HostingWatch>,
    world: Vec<ZoneName>,
}

/// The last signs of a zone's owner.
#[derive(Debug)]
struct HostingWatch {
    /// Epoch, holder, and beat of the lease, as far as there is one.
    sign: Option<(Epoch, Nonce, u64)>,
    epoch: Epoch,
    /// The moment at which an owner last gave a sign; later by the times in which nothing could be seen.
    hosted_at: Duration,
    seen_at: Duration,
    is_raised: bool,
}

impl Vacancies {
    /// Watches the zones of `world` for a process whose leases have this ttl, and which looks so often that more than
    /// `look_gap` between two looks is an outage.
    pub(super) fn new(world: impl IntoIterator<Item = ZoneName>, ttl: Duration, look_gap: Duration) -> Self {
        Self {
            ttl,
            look_gap,
            zones: BTreeMap::new(),
            world: world.into_iter().collect(),
        }
    }

    /// Takes the leases as the authority showed them. Returns the alarms that are raised, and those that are over. Of
    /// what cannot be read nothing is known, and no time counts.
    pub(super) fn handle_leases(&mut self, now: Duration, leases: &Leases) -> Vec<VacancyNews> {
        let views: BTreeMap<&ZoneName, &LeaseView> = leases.views.iter().map(|view| (&view.zone, view)).collect();
        let mut news = Vec::new();
        for zone in self.world.iter().filter(|zone| !leases.unread.contains(*zone)) {
            let view = views.get(zone).copied();
            let ttl = view.map_or(self.ttl, |view| view.longer_ttl(self.ttl));
            let hosting = match self.zones.entry(zone.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert(HostingWatch::new(now, view));
                    continue;
                }
            };
            if let Some(change) = hosting.look(now, view, (ttl, self.look_gap)) {
                let vacancy = |lasted| Vacancy {
                    zone: zone.clone(),
                    epoch: hosting.epoch,
                    lasted,
                };
                news.push(match change {
                    VacancyChange::Raised(lasted) => VacancyNews::Raised(vacancy(lasted)),
                    VacancyChange::Over(lasted) => VacancyNews::Over(vacancy(lasted)),
                });
            }
        }
        news
    }
}

/// A change of one zone's alarm, after a vacancy that has lasted so long.
enum VacancyChange {
    Raised(Duration),
    Over(Duration),
}

impl HostingWatch {
    fn new(now: Duration, view: Option<&LeaseView>) -> Self {
        Self {
            sign: view.map(sign),
            epoch: view.map_or(Epoch::NONE, |view| view.epoch),
            hosted_at: now,
            seen_at: now,
            is_raised: false,
        }
    }

    fn look(
        &mut self,
        now: Duration,
        view: Option<&LeaseView>,
        (ttl, look_gap): (Duration, Duration),
    ) -> Option<VacancyChange> {
        let unseen = now.saturating_sub(self.seen_at);
        self.seen_at = now;
        if unseen > look_gap {
            self.hosted_at += unseen;
        }
        let lasted = now.saturating_sub(self.hosted_at);
        let before = std::mem::replace(&mut self.sign, view.map(sign));
        self.epoch = view.map_or(self.epoch, |view| view.epoch.max(self.epoch));
        if view.is_some_and(is_hosted) && before != self.sign {
            self.hosted_at = now;
            return std::mem::take(&mut self.is_raised).then_some(VacancyChange::Over(lasted));
        }
        let ttls = if self.epoch == Epoch::NONE {
            NEVER_HELD_ALARM_TTLS
        } else {
            ALARM_TTLS
        };
        if self.is_raised || lasted < ttls * ttl {
            return None;
        }
        self.is_raised = true;
        Some(VacancyChange::Raised(lasted))
    }
}

const fn sign(view: &LeaseView) -> (Epoch, Nonce, u64) {
    (view.epoch, view.nonce, view.beat)
}

/// Whether the holder says that it hosts the zone. One of an earlier build says nothing.
fn is_hosted(view: &LeaseView) -> bool {
    !view.released && view.mark.is_none_or(|mark| mark.data.epoch == view.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::{DataStamp, OwnerMark, RulesTag};

    const TTL: u64 = 4_000;
    const LOOK: u64 = 100;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn meadow() -> ZoneName {
        "meadow".parse().unwrap()
    }

    /// A lease of this epoch and beat, of an owner that hosts the zone.
    fn hosted(epoch: u32, beat: u64) -> LeaseView {
        let mark = OwnerMark {
            data: DataStamp {
                epoch: Epoch(epoch),
                tick: everhold_protocol::Tick(100),
            },
            rules: RulesTag::new(&[1; 32]),
        };
        LeaseView {
            zone: meadow(),
            epoch: Epoch(epoch),
            nonce: Nonce(7),
            beat,
            released: false,
            addr: ([127, 0, 0, 1], 1).into(),
            players: 0,
            ttl: Duration::ZERO,
            mark: Some(mark),
        }
    }

    fn granted(epoch: u32, beat: u64) -> LeaseView {
        let mark = hosted(1, 0).mark;
        LeaseView {
            mark,
            ..hosted(epoch, beat)
        }
    }

    fn released(epoch: u32) -> LeaseView {
        LeaseView {
            released: true,
            ..hosted(epoch, 0)
        }
    }

    /// The watch of one zone, and its clock.
    struct Lookout(Vacancies, u64);

    impl Lookout {
        fn new() -> Self {
            Self(Vacancies::new([meadow()], ms(TTL), ms(TTL / 4)), 100_000)
        }

        fn look(&mut self, leases: impl Into<Leases>) -> Vec<String> {
            let news = self.0.handle_leases(ms(self.1), &leases.into());
            let word = |news| match news {
                VacancyNews::Raised(Vacancy { epoch, lasted, .. }) => format!("raised {epoch} {}", lasted.as_millis()),
                VacancyNews::Over(Vacancy { epoch, lasted, .. }) => format!("over {epoch} {}", lasted.as_millis()),
            };
            news.into_iter().map(word).collect()
        }

        /// Looks for so long at leases that are, each time, as this says.
        fn look_for(&mut self, time: u64, mut view: impl FnMut(u64) -> Vec<LeaseView>) -> Vec<String> {
            let looks = 0..time / LOOK;
            let mut news = Vec::new();
            for _ in looks {
                self.1 += LOOK;
                news.extend(self.look(view(self.1)));
            }
            news
        }
    }

    #[test]
    fn zone_that_is_hosted_and_renewed_raises_nothing() {
        let mut watch = Lookout::new();
        let view = |at: u64| vec![hosted(3, at / (TTL / 4))];
        assert!(watch.look_for(10 * TTL, view).is_empty());
        // Nor does one of an earlier build, which leaves no mark.
        let unmarked = |at: u64| {
            vec![LeaseView {
                mark: None,
                ..hosted(4, at / (TTL / 4))
            }]
        };
        assert!(watch.look_for(10 * TTL, unmarked).is_empty());
    }

    #[test]
    fn zone_without_an_owner_is_an_alarm_after_three_ttls_and_once_until_it_is_hosted_again() {
        let views: [fn(u64) -> Vec<LeaseView>; 4] = [
            |_| vec![hosted(3, 1)],
            |_| vec![released(3)],
            // It is granted again and again, or is being adopted for long.
            |at| vec![granted(u32::try_from(at / TTL).unwrap(), at)],
            |_| Vec::new(),
        ];
        for view in views {
            let mut watch = Lookout::new();
            assert!(watch.look(vec![hosted(3, 1)]).is_empty());
            assert!(watch.look_for(3 * TTL - LOOK, view).is_empty());
            let raised = watch.look_for(100 * TTL, view);
            assert!(raised.len() == 1 && raised[0].starts_with("raised"), "{raised:?}");
            let over = watch.look_for(TTL, |at| vec![hosted(1_000, at)]);
            assert_eq!(over, ["over 1000 412000"]);
        }
    }

    #[test]
    fn longer_ttl_of_a_lease_is_waited_for() {
        let mut watch = Lookout::new();
        let slow = |_| {
            vec![LeaseView {
                ttl: ms(5 * TTL),
                ..hosted(3, 1)
            }]
        };
        watch.look(slow(0));
        assert!(watch.look_for(15 * TTL - LOOK, slow).is_empty());
        assert_eq!(watch.look_for(LOOK, slow), ["raised 3 60000"]);
    }

    #[test]
    fn time_in_which_nothing_could_be_read_does_not_count() {
        let mut watch = Lookout::new();
        watch.look(vec![hosted(3, 1)]);
        assert!(watch.look_for(2 * TTL, |_| vec![hosted(3, 1)]).is_empty());
        // The authority is away, then one node of it.
        watch.1 += 100 * TTL;
        let unread = Leases {
            unread: [meadow()].into(),
            ..Leases::default()
        };
        for _ in 0..100 {
            watch.1 += TTL;
            assert!(watch.look(unread.clone()).is_empty());
        }
        watch.1 += LOOK;
        assert!(watch.look(vec![hosted(3, 1)]).is_empty());
        assert!(watch.look_for(TTL - LOOK, |_| vec![hosted(3, 1)]).is_empty());
        assert_eq!(watch.look_for(LOOK, |_| vec![hosted(3, 1)]), ["raised 3 12000"]);
    }

    #[test]
    fn zone_that_was_never_held_is_an_alarm_later() {
        let mut watch = Lookout::new();
        assert_eq!(watch.look_for(7 * TTL, |_| Vec::new()), ["raised 0 24000"]);
    }
}
