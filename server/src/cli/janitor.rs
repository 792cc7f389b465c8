//! `everhold janitor`: removes a demo's directory when its processes are gone. The demo starts it; see
//! [`everhold_os::scratch`].

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use everhold_os::scratch;
use everhold_os::signals::{Signals, StandardInput};

/// Arguments of `everhold janitor`.
#[derive(Args)]
pub struct JanitorArguments {
    /// The directory to remove at the end of standard input.
    path: PathBuf,
}

/// Removes the directory when the last process that holds the other end of standard input is gone.
pub fn run(arguments: &JanitorArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    // From here on no signal but SIGKILL ends it: whoever stops everything else by name needs it most.
    let _unheeded = {
        let _inside = runtime.enter();
        Signals::listen(StandardInput::Ignored).context("listen for signals")?
    };
    let path = &arguments.path;
    scratch::clean_up_after(path).with_context(|| format!("remove {}", path.display()))
}
