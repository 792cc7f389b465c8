//! The transport over real QUIC on loopback: logins, what goes both ways, and what hostile peers cannot do to others.
//! Each test runs on net threads and on the reference transport: what one tells, the other tells.

mod transport {
    #[macro_use]
    mod harness;
    mod closing;
    mod flood;
    mod moving;
    mod hostile;
    mod limits;
    mod login;
    mod routing;
}
