//! The transport over real QUIC on loopback: logins, what goes both ways, and what hostile peers cannot do to others.

mod transport {
    mod closing;
    mod harness;
    mod hostile;
    mod limits;
    mod login;
    mod routing;
}
