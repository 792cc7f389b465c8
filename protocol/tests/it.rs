//! Tests of the protocol through its public interface, in one binary so that it links once.

mod it {
    mod client;
    mod codec;
    mod control;
    mod datagram;
    mod golden;
    mod strategy;
    mod ticket;
}
