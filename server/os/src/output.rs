//! Standard error for threads that must not wait: the log, a command's last lines, the demo's display.
//!
//! A thread of its own writes the lines. Other threads leave theirs in a bounded queue and go on; lines that do not fit
//! are left out, and their number is written as soon as the reader reads again. So a reader that is slow, that has
//! stopped reading, or that is gone changes nothing else in this process. At its end a process waits for the lines, but
//! not for long.
//!
//! It is not `tracing-appender`, whose guard answers a writer that is stuck with an `eprintln!` on the very output that
//! is stuck, and which never says what it has left out.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use everhold_core::limits::{OUTPUT_FLUSH_MS_MAX, OUTPUT_LINE_BYTES_MAX, OUTPUT_LINES_MAX};

/// An output that never blocks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Output {
    lines: Sender<OutputLine>,
    left_out: Arc<AtomicU64>,
}

/// A line, with the number of lines that were left out before it.
#[derive(Debug)]
enum OutputLine {
    Text(u64, Vec<u8>),
    Flush(u64, Sender<()>),
}

impl Output {
    /// Returns an output that writes to `out`, on a thread that it starts. Without a thread every line is left out.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        let (lines, queue) = bounded(OUTPUT_LINES_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&left_out);
        // A thread that cannot be started cannot be reported either.
        let _thread = std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || write_all(out, &queue, &counter));
        Self { lines, left_out }
    }

    /// Queues a text, mostly one line; never waits. A text beyond [`OUTPUT_LINE_BYTES_MAX`] is cut.
    pub fn write(&self, text: &[u8]) {
        let mut text = text.to_vec();
        if text.len() > OUTPUT_LINE_BYTES_MAX {
            text.truncate(OUTPUT_LINE_BYTES_MAX);
            text.extend_from_slice(b" ...\n");
        }
        let before = self.left_out.swap(0, Ordering::Relaxed);
        if self.lines.try_send(OutputLine::Text(before, text)).is_err() {
            self.left_out.fetch_add(before + 1, Ordering::Relaxed);
        }
    }

    /// Waits until everything that was queued before is written, for [`OUTPUT_FLUSH_MS_MAX`] at most.
    pub fn flush(&self) {
        let deadline = Instant::now() + Duration::from_millis(OUTPUT_FLUSH_MS_MAX);
        let (done, written) = bounded(1);
        let before = self.left_out.swap(0, Ordering::Relaxed);
        if self
            .lines
            .send_deadline(OutputLine::Flush(before, done), deadline)
            .is_ok()
        {
            let _too_slow = written.recv_deadline(deadline);
        } else {
            self.left_out.fetch_add(before, Ordering::Relaxed);
        }
    }
}

/// Writes line after line. A failed write is a line left out; the next one is tried all the same, because a terminal
/// may come back.
fn write_all(mut out: impl Write, queue: &Receiver<OutputLine>, left_out: &AtomicU64) {
    for line in queue {
        let (before, text, done) = match line {
            OutputLine::Text(before, text) => (before, text, None),
            OutputLine::Flush(before, done) => (before, Vec::new(), Some(done)),
        };
        if tell(&mut out, before, &text).is_err() {
            left_out.fetch_add(before + u64::from(!text.is_empty()), Ordering::Relaxed);
        }
        // The caller may have stopped waiting.
        let _gone = done.map(|done| done.send(()));
    }
}

fn tell(out: &mut impl Write, left_out: u64, text: &[u8]) -> io::Result<()> {
    if left_out > 0 {
        writeln!(out, "{left_out} lines were left out here: nobody read them")?;
    }
    out.write_all(text)?;
    out.flush()
}

/// Returns the standard error of this process.
pub fn stderr() -> &'static Output {
    static STDERR: OnceLock<Output> = OnceLock::new();
    STDERR.get_or_init(|| Output::to(io::stderr()))
}

/// Takes an event whole from the log's formatter.
#[derive(Debug)]
pub struct LogLine;

impl Write for LogLine {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        stderr().write(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes panics report their place through [`stderr`]. The standard library's hook writes by itself: it panics again if
/// there is no reader, and waits for ever for a reader that has stopped reading.
pub fn hook_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let what = panic.payload_as_str().unwrap_or("a value that is no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // Empty unless RUST_BACKTRACE asks for it.
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("{trace}"),
            _ => String::new(),
        };
        stderr().write(format!("thread '{name}' panicked at {place}: {what}\n{trace}").as_bytes());
    }));
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, pipe};

    use super::*;

    #[test]
    fn lines_come_in_order_and_flush_waits_for_them() {
        let (mut reader, writer) = pipe().unwrap();
        let output = Output::to(writer);
        for line in ["one\n", "two\n"] {
            output.write(line.as_bytes());
        }
        output.flush();
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }

    #[test]
    fn a_reader_that_has_stopped_holds_nobody_up_and_hears_later_what_it_missed() {
        let (reader, writer) = pipe().unwrap();
        let output = Output::to(writer);
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        // Far more than pipe and queue hold.
        let told = OUTPUT_LINES_MAX * 3;
        for _ in 0..told {
            output.write(&line);
        }
        output.flush();
        let (mut heard, mut left_out) = (0, 0);
        for said in BufReader::new(reader).lines().map(Result::unwrap) {
            if said.len() == 999 {
                heard += 1;
                // There is room again.
                if heard == 500 {
                    output.write(b"later\n");
                }
            } else if let Some(count) = said.strip_suffix(" lines were left out here: nobody read them") {
                left_out += count.parse::<usize>().unwrap();
            } else {
                assert_eq!(said, "later");
                break;
            }
        }
        assert!(left_out > 0);
        assert_eq!(heard + left_out, told);
    }

    #[test]
    fn a_reader_that_is_gone_is_no_reason_to_stop() {
        let (reader, writer) = pipe().unwrap();
        let output = Output::to(writer);
        drop(reader);
        output.write(b"nobody\n");
        output.flush();
        output.write(b"still nobody\n");
        output.flush();
        assert_eq!(output.left_out.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let (mut reader, writer) = pipe().unwrap();
        let output = Output::to(writer);
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text)
        });
        output.write(&vec![b'x'; OUTPUT_LINE_BYTES_MAX * 2]);
        drop(output);
        let text = reading.join().unwrap().unwrap();
        assert_eq!(text.len(), OUTPUT_LINE_BYTES_MAX + b" ...\n".len());
    }
}
