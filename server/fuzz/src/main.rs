//! libFuzzer's loop over one target, which `EVERHOLD_FUZZ_TARGET` names. `make fuzz` builds and runs it; the other
//! arguments are libFuzzer's.

#![no_main]

use std::sync::LazyLock;

use everhold_fuzz::FuzzTarget;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<FuzzTarget> = LazyLock::new(|| {
    let name = std::env::var("EVERHOLD_FUZZ_TARGET").unwrap_or_default();
    everhold_fuzz::target(&name).unwrap_or_else(|| panic!("EVERHOLD_FUZZ_TARGET must name a target, not {name:?}"))
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
