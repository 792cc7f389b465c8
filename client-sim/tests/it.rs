//! `client-sim` against real QUIC servers in this process.

#[cfg(test)]
mod it {
    mod binary;
    mod net;
    mod server;
    mod swarm;
    mod world;
}
