//! When a zone fails: who is to blame, and is it written down?
//!
//! An adopter would fail at the same input, for its client repeats what was never confirmed. So the failing owner, while its lease is
//! good, writes down the input that was being applied, fenced like every write; adopters refuse it from then on. It does so at the *first*
//! failure: the probe says exactly which input was being applied, the rules are a pure function, so it fails again wherever it is tried,
//! and each try would cost all players of the zone a failover. An innocent input (one in the hands of a tick that stalled because the
//! machine did) costs one player one rejected intent.
//!
//! A failure with no input under way (a system's) is nobody's fault. Nothing is skipped then: the zone fails again wherever it is adopted,
//! each shard shuns it after its own failure, and it stays down, as it was last stored, until a build with other rules or a person comes.

use std::sync::Arc;
use std::time::Duration;

use everhold_core::durability::store::{StateStore, StoreError};
use everhold_core::ownership::EndReason;
use everhold_core::ownership::Grant;
use everhold_core::zone::Probe;
use everhold_protocol::{SessionId, Tick, ZoneName};

use super::LeaseGuard;
use super::asking::answer;

/// The store is asked again this often while it does not answer, until the lease is over.
const RETRY: Duration = Duration::from_millis(50);

/// A write that takes longer counts as unanswered. A lease has a few of these left when a stall is found.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// What is known of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// This session's input with this number: the store refuses it from now on.
    Input(SessionId, u64),
    /// No player's input was being applied.
    Nobody,
    /// An input was, but the store did not take the note: whoever adopts may fail once more.
    Unwritten,
}

/// Writes down the input at which the zone failed in `tick`.
pub async fn blame(
    store: &dyn StateStore,
    (zone, grant): (&ZoneName, Grant),
    guard: &LeaseGuard,
    tick: Tick,
    probe: &Probe,
) -> Blame {
    let Some((session, seq)) = probe.suspect().and_then(|suspect| suspect.intent) else {
        tracing::error!(%zone, tick, "no player's input is to blame: nothing is skipped, and the zone will fail wherever it is adopted");
        return Blame::Nobody;
    };
    while guard.may_act() {
        match answer(ANSWER_MAX, store.quarantine(zone, grant, tick, session, seq)).await {
            Ok(()) => {
                tracing::error!(%zone, tick, session = session.0, seq, "the zone failed at this input; it is quarantined");
                return Blame::Input(session, seq);
            }
            Err(StoreError::Unavailable(why)) => {
                tracing::warn!(%zone, why, "the culprit is not written down yet");
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                tracing::error!(%zone, tick, %error, "the culprit cannot be written down");
                return Blame::Unwritten;
            }
        }
    }
    Blame::Unwritten
}

/// A rule that panicked did so at somebody's input, or by itself. Other reasons stay as they are.
pub(super) async fn blamed(
    (store, zone, grant): (Arc<dyn StateStore>, ZoneName, Grant),
    guard: &LeaseGuard,
    probe: &Probe,
    reason: EndReason,
) -> EndReason {
    let EndReason::Panicked(tick, why) = reason else {
        return reason;
    };
    match blame(store.as_ref(), (&zone, grant), guard, tick, probe).await {
        Blame::Input(session, seq) => EndReason::Poisoned(tick, session, seq, why),
        Blame::Nobody | Blame::Unwritten => EndReason::Panicked(tick, why),
    }
}
