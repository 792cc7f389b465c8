//! For tests only: `everhold` with flags that make it fail at a given moment. It is built with the feature `testing`
//! alone, and nothing that is shipped has these flags.

use std::ffi::OsString;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use everhold::failpoint;
use everhold_core::zone::growth;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Arms the failure that one flag and its value ask for.
fn arm(flag: &str, value: &str) -> Result<(), String> {
    match flag {
        // Where the process dies.
        "--failpoint" => failpoint::arm(value.parse()?),
        // A line of chat that makes a rule fail.
        "--plant" => everhold_core::game::chat_fault::set(value.parse()?),
        // A zone whose replay does not end.
        "--stick" => failpoint::stick(value.parse().map_err(|error| format!("{error}"))?),
        // A part that panics.
        "--panic" => failpoint::break_part(value.parse()?),
        // One field of a component more in the next layout of state.
        "--state-fields" => growth::set(match value {
            "1" => 1,
            "2" => 2,
            _ => return Err("1 or 2".to_owned()),
        }),
        // How much longer each player makes a tick, µs.
        _ => failpoint::burn(Duration::from_micros(
            u64::from_str(value).map_err(|error| error.to_string())?,
        )),
    }
    Ok(())
}

const FLAGS: [&str; 6] = [
    "--failpoint",
    "--plant",
    "--stick",
    "--panic",
    "--state-fields",
    "--burn-us-per-player",
];

/// Arms what the flags of [`FLAGS`] ask for, each with its value after it. Returns the other arguments.
fn take_flags(arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let (mut others, mut arguments) = (Vec::new(), arguments);
    while let Some(argument) = arguments.next() {
        let Some(flag) = FLAGS.into_iter().find(|flag| argument == *flag) else {
            others.push(argument);
            continue;
        };
        let value = arguments.next().and_then(|value| value.into_string().ok());
        let value = value.ok_or_else(|| format!("{flag} needs a value"))?;
        arm(flag, &value).map_err(|error| format!("{flag} {value}: {error}"))?;
    }
    Ok(others)
}

fn main() -> ExitCode {
    // A guardian passes its arguments on, so that its child is armed as well.
    match take_flags(std::env::args_os()) {
        Ok(others) => everhold::cli::run(others),
        Err(error) => {
            everhold_os::output::stderr().write(format!("everhold-sabotaged: {error}\n").as_bytes());
            everhold_os::output::stderr().flush();
            ExitCode::from(64)
        }
    }
}
