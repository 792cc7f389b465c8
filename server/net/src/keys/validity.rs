//! The end of a certificate's validity: the one date in it that is looked at. It checks nothing else.

/// DER tags.
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit tag of a certificate's version, which may be missing.
const VERSION: u8 = 0xA0;

/// Reads the end of a certificate's validity, in seconds since the Unix epoch. `None`: it cannot be read.
pub(super) fn not_after_unix_s(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = any(rest)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = any(rest)?.2;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, after) = any(validity)?;
    let (tag, time, _) = any(after)?;
    unix_s(tag, std::str::from_utf8(time).ok()?)
}

/// Reads the content of the element that comes first, which has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Reads tag and content of the element that comes first, and what follows it.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        let length = digits.iter().try_fold(0_usize, |sum, digit| {
            sum.checked_mul(256)?.checked_add(usize::from(*digit))
        })?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Reads a time, `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, as seconds since the Unix epoch.
fn unix_s(tag: u8, text: &str) -> Option<u64> {
    let (year, rest) = match tag {
        GENERALIZED_TIME => (text.get(..4)?.parse::<u64>().ok()?, text.get(4..)?),
        UTC_TIME => {
            let year = text.get(..2)?.parse::<u64>().ok()?;
            (year + if year < 50 { 2_000 } else { 1_900 }, text.get(2..)?)
        }
        _ => return None,
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (number(0)?, number(2)?);
    let (hour, minute, second) = (number(4)?, number(6)?, number(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1_970 {
        return None;
    }
    // Days since 1970-01-01 in the Gregorian calendar, with years that begin in March:
    // http://howardhinnant.github.io/date_algorithms.html
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_the_calendar_has_them() {
        assert_eq!(unix_s(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(unix_s(UTC_TIME, "000229235959Z"), Some(951_868_799));
        assert_eq!(unix_s(GENERALIZED_TIME, "20301231120000Z"), Some(1_924_948_800));
        assert_eq!(unix_s(GENERALIZED_TIME, "40960101000000Z"), Some(67_090_118_400));
        for wrong in ["", "7001", "701301000000Z", "7001010000xxZ"] {
            assert_eq!(unix_s(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn end_of_a_certificate_is_found() {
        let key = rcgen::KeyPair::generate().expect("a key");
        for (year, expected) in [(2_030, 1_893_456_000), (2_060, 2_840_140_800)] {
            let mut params = rcgen::CertificateParams::new(["everhold".to_owned()]).expect("a name");
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&key).expect("a certificate");
            assert_eq!(not_after_unix_s(certificate.der()), Some(expected));
            for cut in 0..certificate.der().len().min(150) {
                assert_eq!(not_after_unix_s(&certificate.der()[..cut]), None, "{cut} bytes");
            }
        }
    }
}
