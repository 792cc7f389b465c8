//! Packets that the kernel threw away because a socket of ours was full. It reads a table of the kernel and no socket.

use std::fs;

/// The kernel's tables of UDP sockets, by address family.
const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// Packets dropped at the sockets with these local ports since they were bound. Zero where the kernel has no such
/// table: the latencies show a loss in any case, this only says whose it is.
pub(super) fn dropped_packets(ports: &[u16]) -> u64 {
    let tables = TABLES.iter().filter_map(|path| fs::read_to_string(path).ok());
    tables.map(|table| dropped_in(&table, ports)).sum()
}

/// Lines are `sl local_address:port remote … drops`; the first line names the columns.
fn dropped_in(table: &str, ports: &[u16]) -> u64 {
    let drops = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace();
        let (_, port) = columns.nth(1)?.rsplit_once(':')?;
        let ours = ports.contains(&u16::from_str_radix(port, 16).ok()?);
        columns.last().filter(|_| ours)?.parse::<u64>().ok()
    });
    drops.sum()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::{dropped_in, dropped_packets};

    const TABLE: &str =
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode \
        ref pointer drops
  287: 0100007F:1E15 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81442 2 0000000000000000 12
  288: 00000000:1E16 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81443 2 0000000000000000 30
";

    #[test]
    fn only_drops_of_our_ports_count() {
        assert_eq!(dropped_in(TABLE, &[0x1e16]), 30);
        assert_eq!(dropped_in(TABLE, &[0x1e15, 0x1e16, 9]), 42);
        assert_eq!(dropped_in("", &[0x1e16]), 0);
    }

    #[test]
    fn overflowing_socket_is_seen() {
        let full = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = full.local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..4_000 {
            sender.send_to(&[0; 1_200], addr).unwrap();
        }
        assert!(dropped_packets(&[addr.port()]) > 0);
    }
}
