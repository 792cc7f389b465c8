//! Makes a finding smaller: it leaves out every fault without which the same invariant still breaks.

use crate::cluster::{Options, SimCluster};
use crate::fault::Plan;

/// Returns the smallest plan that it finds by leaving out one fault after the other, of those of `plan`, of a run with
/// these options.
#[must_use]
pub fn shrink(options: &Options, plan: &Plan, invariant: &str) -> Plan {
    let mut least = plan.clone();
    let mut place = 0;
    while place < least.0.len() {
        let mut fewer = least.clone();
        fewer.0.remove(place);
        if breaks(options, &fewer, invariant) {
            least = fewer;
        } else {
            place += 1;
        }
    }
    least
}

fn breaks(options: &Options, plan: &Plan, invariant: &str) -> bool {
    let options = Options {
        plan: Some(plan.clone()),
        tells_story: false,
        ..options.clone()
    };
    let first = SimCluster::run(&options).breaches.into_iter().next();
    first.is_some_and(|breach| breach.invariant == invariant)
}
