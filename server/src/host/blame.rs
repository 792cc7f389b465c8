//! Carries out what an [`Inquiry`] into a zone's failure asks for. It decides nothing.

use std::time::Instant;

use everhold_core::durability::blame::{ANSWER_MAX, Blame, Inquiry, InquiryCommand};
use everhold_core::durability::store::ZoneStore;
use everhold_core::ownership::EndReason;
use everhold_core::ownership::Tenure;
use everhold_core::zone::Probe;
use everhold_protocol::Tick;

use super::{LeaseGuard, notices};
use crate::deadline::answer;

/// Writes down the input at which the zone failed in `tick`.
pub async fn blame(store: &dyn ZoneStore, tenure: &Tenure, guard: &LeaseGuard, tick: Tick, probe: &Probe) -> Blame {
    let mut inquiry = Inquiry::new(tick, probe.suspect());
    loop {
        let Some(command) = inquiry.poll_command(Instant::now(), guard.state()) else {
            let at = inquiry.poll_timeout().expect("every command was answered");
            tokio::time::sleep_until(at.into()).await;
            continue;
        };
        match command {
            InquiryCommand::Quarantine(tick, session, seq) => {
                let written = answer(ANSWER_MAX, store.quarantine(tenure, tick, session, seq)).await;
                inquiry.handle_answer(Instant::now(), written);
            }
            InquiryCommand::Log(notice) => notices::log_inquiry(&tenure.zone, notice),
            InquiryCommand::Conclude(blame) => return blame,
        }
    }
}

/// Names the input at which a rule panicked, if there is one. Other reasons stay as they are.
pub(super) async fn blamed(
    store: &dyn ZoneStore,
    tenure: &Tenure,
    guard: &LeaseGuard,
    probe: &Probe,
    reason: EndReason,
) -> EndReason {
    let EndReason::Panicked(tick, why) = reason else {
        return reason;
    };
    let blame = blame(store, tenure, guard, tick, probe).await;
    blame.end_reason(tick, why)
}
