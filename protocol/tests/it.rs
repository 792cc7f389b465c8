//! Tests of the protocol through its public interface, in one binary so that it links once.

// The attribute tells clippy that helpers in here are test code too.
#[cfg(test)]
mod it {
    mod client;
    mod codec;
    mod control;
    mod datagram;
    mod document;
    mod golden;
    mod strategy;
    mod text;
    mod ticket;
}
