//! Capture and restore, as a store would use them.

use super::*;

#[test]
fn restored_zone_goes_on_as_the_captured_one() {
    let mut zone = zone(&[]);
    zone.step(&[join(1), join(2)]);
    let walker = session(&zone, 1);
    zone.step(&[intent(walker, 1, go(127, 0))]);
    let base = zone.capture(Cut::Base);
    zone.capture_confirmed();
    zone.step(&[intent(walker, 2, go(0, 127))]);
    let delta = zone.capture(Cut::Delta);
    let mut other = Zone::restore(config(&[]), &[&base.body, &delta.body]).unwrap();
    assert_eq!(other.digest(), zone.digest());
    assert_eq!(other.step(&[]), zone.step(&[]));
    assert_eq!(other.digest(), zone.digest());
}
