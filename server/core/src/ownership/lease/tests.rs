//! The holder's lease, told by circumstances. Times are ms on a made-up clock.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Returns a lease granted by a claim sent at 0: ttl 4,000, margin 666, so the deadline is at 3,334; a gap above 500 is
/// a pause.
fn lease() -> Lease {
    Lease::new(LeaseConfig::default(), ms(0), ms(5))
}

/// Runs an iteration of the tick loop every 50 ms from `from` to `to`.
fn tick_along(lease: &mut Lease, from: u64, to: u64) {
    for now in (from..=to).step_by(50) {
        lease.handle_iteration(ms(now));
        lease.handle_tick(ms(now));
    }
}

/// Sends a renewal and has it confirmed.
fn renew(lease: &mut Lease, sent_at: u64, answered_at: u64) {
    assert!(lease.poll_renewal(ms(sent_at)));
    lease.handle_renew_sent(ms(sent_at));
    lease.handle_renewed(ms(sent_at), ms(answered_at));
}

#[test]
fn margin_is_the_largest_of_its_three_reasons() {
    assert_eq!(LeaseConfig::new(4_000, 20).margin, ms(666));
    assert_eq!(LeaseConfig::new(1_200, 20).margin, ms(250));
    assert_eq!(LeaseConfig::new(1_200, 4).margin, ms(500));
}

#[test]
fn lease_holds_until_a_margin_before_the_ttl_of_the_sending() {
    let lease = lease();
    assert!(lease.may_act(ms(3_333)) && lease.may_speak(ms(3_333)));
    assert!(!lease.may_act(ms(3_334)) && !lease.may_speak(ms(3_334)));
}

#[test]
fn renewals_are_due_every_quarter_of_the_ttl_one_at_a_time() {
    let mut lease = lease();
    assert!(!lease.poll_renewal(ms(999)));
    assert!(lease.poll_renewal(ms(1_000)));
    lease.handle_renew_sent(ms(1_000));
    assert!(!lease.poll_renewal(ms(2_500)), "one is in flight");
    lease.handle_renewed(ms(1_000), ms(2_500));
    assert_eq!(
        lease.state(),
        LeaseState::Held { deadline: ms(4_334) },
        "counted from the sending"
    );
}

#[test]
fn unanswered_renewal_is_followed_by_another_soon() {
    let mut lease = lease();
    lease.handle_renew_sent(ms(1_000));
    lease.handle_unavailable(ms(1_100));
    assert!(!lease.poll_renewal(ms(1_349)));
    assert!(lease.poll_renewal(ms(1_350)));
}

#[test]
fn renewal_answered_after_the_deadline_comes_too_late() {
    let mut lease = lease();
    lease.handle_renew_sent(ms(3_000));
    lease.handle_renewed(ms(3_000), ms(3_334));
    assert_eq!(lease.state(), LeaseState::Suspended);
    assert!(!lease.may_act(ms(3_335)));
}

#[test]
fn renewal_answered_after_its_own_deadline_comes_too_late() {
    let mut lease = lease();
    lease.handle_renew_sent(ms(1_000));
    lease.handle_renewed(ms(1_000), ms(5_000));
    assert_eq!(lease.state(), LeaseState::Suspended);
}

#[test]
fn late_answer_never_brings_the_deadline_forward() {
    let mut lease = lease();
    renew(&mut lease, 1_000, 1_010);
    lease.handle_renewed(ms(500), ms(1_020));
    assert_eq!(lease.state(), LeaseState::Held { deadline: ms(4_334) });
}

#[test]
fn process_stopped_for_less_than_its_lease_speaks_after_a_renewal_sent_after_waking() {
    let mut lease = lease();
    tick_along(&mut lease, 50, 200);
    lease.handle_iteration(ms(2_200));
    assert_eq!(
        lease.state(),
        LeaseState::Paused {
            deadline: ms(3_334),
            woke_at: ms(2_200)
        }
    );
    assert!(lease.may_act(ms(2_200)) && !lease.may_speak(ms(2_200)));
    renew(&mut lease, 2_201, 2_210);
    assert!(lease.may_speak(ms(2_210)));
    assert_eq!(lease.state(), LeaseState::Held { deadline: ms(5_535) });
}

#[test]
fn renewal_sent_before_the_pause_does_not_open_the_mouth() {
    let mut lease = lease();
    tick_along(&mut lease, 50, 1_000);
    lease.handle_renew_sent(ms(1_000));
    lease.handle_iteration(ms(2_500));
    lease.handle_renewed(ms(1_000), ms(2_501));
    assert!(lease.may_act(ms(2_501)) && !lease.may_speak(ms(2_501)));
    renew(&mut lease, 2_502, 2_510);
    assert!(lease.may_speak(ms(2_510)));
}

#[test]
fn second_pause_asks_for_another_renewal() {
    let mut lease = lease();
    lease.handle_iteration(ms(1_000));
    lease.handle_renew_sent(ms(1_001));
    lease.handle_iteration(ms(2_000));
    lease.handle_renewed(ms(1_001), ms(2_001));
    assert!(!lease.may_speak(ms(2_001)));
}

#[test]
fn process_stopped_for_longer_than_its_lease_is_suspended_before_it_says_anything() {
    let mut lease = lease();
    tick_along(&mut lease, 50, 200);
    assert!(!lease.may_act(ms(9_000)) && !lease.may_speak(ms(9_000)));
    lease.handle_iteration(ms(9_000));
    assert_eq!(lease.state(), LeaseState::Suspended);
    assert!(!lease.poll_renewal(ms(9_000)), "it cannot be renewed any more");
}

#[test]
fn confirmed_renewal_does_not_end_a_suspension() {
    let mut lease = lease();
    lease.handle_renew_sent(ms(3_000));
    lease.handle_iteration(ms(9_000));
    lease.handle_renewed(ms(3_000), ms(9_001));
    assert_eq!(lease.state(), LeaseState::Suspended);
}

#[test]
fn refused_holder_drops_the_zone_for_good() {
    let mut lease = lease();
    lease.handle_renew_sent(ms(1_000));
    lease.handle_refused();
    assert!(!lease.may_act(ms(1_001)) && !lease.may_speak(ms(1_001)));
    lease.handle_renewed(ms(1_000), ms(1_002));
    lease.handle_iteration(ms(1_050));
    assert_eq!(lease.state(), LeaseState::Lost);
    assert!(!lease.poll_renewal(ms(1_050)));
}

#[test]
fn wedged_tick_is_not_renewed_and_loses_its_lease() {
    let mut lease = lease();
    tick_along(&mut lease, 50, 500);
    assert!(lease.poll_renewal(ms(2_500)));
    assert!(!lease.poll_renewal(ms(2_501)));
    lease.handle_iteration(ms(3_334));
    assert_eq!(lease.state(), LeaseState::Suspended);
}

#[test]
fn declared_pause_is_renewed_without_ticks() {
    let mut lease = lease();
    tick_along(&mut lease, 50, 500);
    lease.handle_pause_declared();
    assert!(lease.poll_renewal(ms(3_000)));
    lease.handle_tick(ms(3_100));
    assert!(lease.poll_renewal(ms(3_200)));
}

/// The holder's clock and the contender's clock run apart; the holder's deadline comes before the contender's start.
#[test]
fn holder_stops_a_margin_before_a_contender_may_start() {
    let config = LeaseConfig::default();
    let sent_at = ms(1_000);
    let holder = Lease::new(config, sent_at, sent_at);
    // The renewal takes effect no earlier than it is sent, and is seen no earlier than it takes effect.
    let contender_may_claim = sent_at + config.ttl;
    assert!(!holder.may_act(contender_may_claim - config.margin));
}
