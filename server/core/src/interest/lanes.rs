//! Distance tests on many entities at a time, in a form that compilers turn into vector instructions on every
//! processor. It knows no grid.
//!
//! Two passes: [`mark`] writes one byte for each entity, and [`gather`] writes the numbers of the marked ones, eight
//! entities at a time by a table. Neither branches on what is near, which would be mispredicted half of the time.

/// Entities that [`gather`] takes at a time: columns, marks, and output must reach to the next multiple.
pub(super) const LANES: usize = 8;

/// The longest distance on an axis that [`mark`] handles, cm: twice its square still fits 31 bits.
pub(super) const DISTANCE_MAX: u32 = i16::MAX as u32;

/// The numbers of the set bits, for each of the 256 choices among eight.
static CHOSEN: [[u32; LANES]; 256] = chosen();

const fn chosen() -> [[u32; LANES]; 256] {
    let mut table = [[0; LANES]; 256];
    let mut choice = 0;
    while choice < table.len() {
        let (mut lane, mut count) = (0, 0);
        while lane < LANES {
            if choice >> lane & 1 == 1 {
                table[choice][count] = lane as u32;
                count += 1;
            }
            lane += 1;
        }
        choice += 1;
    }
    table
}

/// Marks the entities within a squared distance of `at` with one, and the others with zero. Coordinates are given by
/// their lower 16 bits: right for all that are at most [`DISTANCE_MAX`] away on either axis.
#[inline]
pub(super) fn mark(xs: &[i16], ys: &[i16], at: (i32, i32), limit: i32, marks: &mut [u8]) {
    let (x, y) = (at.0 as i16, at.1 as i16);
    for ((ex, ey), mark) in xs.iter().zip(ys).zip(marks) {
        let (dx, dy) = (i32::from(ex.wrapping_sub(x)), i32::from(ey.wrapping_sub(y)));
        *mark = u8::from(dx.wrapping_mul(dx).wrapping_add(dy.wrapping_mul(dy)) <= limit);
    }
}

/// Writes `base` plus the number of each marked entity among the first `len` to the front of `out`, and returns their
/// count. The entries behind them are garbage.
#[inline]
pub(super) fn gather(marks: &[u8], len: usize, mut base: u32, out: &mut [u32]) -> usize {
    let (marks, _) = marks[..len.next_multiple_of(LANES)].as_chunks::<LANES>();
    let (mut left, mut count) = (len, 0);
    for marks in marks {
        let valid = u64::MAX >> (8 * LANES.saturating_sub(left));
        let marks = u64::from_le_bytes(*marks) & valid;
        // Collects the lowest bits of the bytes in the topmost byte.
        let chosen = CHOSEN[(marks.wrapping_mul(0x0102_0408_1020_4080) >> 56) as usize];
        let out: &mut [u32; LANES] = out[count..]
            .first_chunk_mut()
            .expect("there is room for a multiple of the lanes");
        *out = chosen.map(|lane| base.wrapping_add(lane));
        // Adds the bytes up in the topmost one.
        count += (marks.wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
        left = left.saturating_sub(LANES);
        base = base.wrapping_add(LANES as u32);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_gathered_in_order() {
        for choice in 0..256_u32 {
            let marks: [u8; LANES] = std::array::from_fn(|lane| (choice >> lane & 1) as u8);
            let mut out = [0; LANES];
            let count = gather(&marks, LANES, 100, &mut out);
            let expected: Vec<u32> = (0..8)
                .filter(|lane| choice >> lane & 1 == 1)
                .map(|lane| 100 + lane)
                .collect();
            assert_eq!(out[..count], expected);
        }
    }

    #[test]
    fn marks_behind_the_end_are_not_gathered() {
        let mut out = [0; 4 * LANES];
        for len in 0..=3 * LANES {
            let count = gather(&[1; 3 * LANES], len, 7, &mut out);
            assert_eq!(out[..count], (7..7 + len as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn marks_are_right_up_to_the_longest_distance() {
        let far = DISTANCE_MAX as i32;
        let marked = |x: i32, y: i32, limit| {
            let mut marks = [7];
            let at = (1_000_000, -1_000_000);
            mark(&[(x + at.0) as i16], &[(y + at.1) as i16], at, limit, &mut marks);
            marks[0] == 1
        };
        assert!(marked(3, -4, 25) && !marked(3, -4, 24));
        assert!(marked(far, 0, far * far) && !marked(-far, 1, far * far));
        assert!(marked(far, -far, 2 * far * far) && !marked(far, -far, 2 * far * far - 1));
    }
}
