//! The `everhold` binary. Everything it does is in the library's [`everhold::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    everhold::cli::run(std::env::args_os())
}
