//! `client-sim` against real QUIC servers in this process.

mod it {
    mod net;
    mod server;
}
