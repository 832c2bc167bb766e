//! Log lines on their way to standard error, which a thread of their own writes: if its reader is slow or stops reading,
//! nothing else waits. Lines that find no room are dropped, counted, and reported once the reader has caught up.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// How many bytes may wait. Enough for the lines of a mass drift of 10,000 targets that nobody reads meanwhile.
const MAX_WAITING: usize = 4 * 1024 * 1024;
/// How much memory is kept for the next lines, in bytes.
const MAX_KEPT: usize = 64 * 1024;
/// How long to wait for an output that cannot take more at the moment and says so instead of blocking.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The lines that wait to be written.
#[derive(Debug, Default)]
pub(in crate::server) struct Lines {
    state: Mutex<State>,
    filled: Condvar,
    idle: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Dropped lines that were not reported yet.
    unreported: u64,
}

impl Lines {
    /// Registers the metric.
    pub(in crate::server) fn register(&self, registry: &mut Registry) {
        registry.register(
            "log_lines_dropped",
            "Log lines that were lost because standard error was not read or could not be written",
            self.dropped.clone(),
        );
    }

    /// Adds text that consists of whole lines. Never waits for the output.
    pub(super) fn add(&self, text: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + text.len() > MAX_WAITING {
            self.lose(&mut state, text);
            return;
        }
        state.waiting.extend_from_slice(text);
        let is_asleep = !state.is_writing;
        drop(state);
        if is_asleep {
            self.filled.notify_one();
        }
    }

    /// Waits until all lines are written, but not longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let flushed = self.idle.wait_timeout_while(self.state(), limit, is_busy);
        drop(flushed.unwrap_or_else(PoisonError::into_inner));
    }

    /// Starts the thread that writes lines to `output`. It runs until the process ends. `report` is called when lines
    /// were dropped and the output takes lines again.
    pub(super) fn write_to(
        self: &Arc<Self>,
        mut output: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<()> {
        let this = Arc::clone(self);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let (mut text, mut is_writable) = (Vec::new(), false);
            loop {
                this.take(&mut text);
                if is_writable {
                    this.report_dropped(&report);
                }
                is_writable = this.write(&mut output, &text);
                if is_writable {
                    this.report_dropped(&report);
                }
            }
        })?;
        Ok(())
    }

    /// Waits for lines, and moves them to `text`, whose memory is used again.
    fn take(&self, text: &mut Vec<u8>) {
        text.clear();
        text.shrink_to(MAX_KEPT);
        let mut state = self.state();
        state.is_writing = false;
        while state.waiting.is_empty() {
            self.idle.notify_all();
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(&mut state.waiting, text);
        state.is_writing = true;
    }

    /// Writes `text`. Returns whether that was possible.
    #[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do, and no runtime")]
    fn write(&self, output: &mut impl Write, mut text: &[u8]) -> bool {
        while !text.is_empty() {
            match output.write(text) {
                Ok(written @ 1..) => text = &text[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY_DELAY),
                Ok(0) | Err(_) => {
                    self.lose(&mut self.state(), text);
                    return false;
                }
            }
        }
        true
    }

    /// Reports lines that were dropped, if there is room for a line about them.
    fn report_dropped(&self, report: impl Fn(u64)) {
        let mut state = self.state();
        if state.unreported == 0 || state.waiting.len() > MAX_WAITING / 2 {
            return;
        }
        let dropped = mem::take(&mut state.unreported);
        drop(state);
        report(dropped);
    }

    fn lose(&self, state: &mut State, text: &[u8]) {
        let lines = text.split_inclusive(|byte| *byte == b'\n').count().try_into().unwrap_or(u64::MAX);
        state.unreported += lines;
        self.dropped.inc_by(lines);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes whole lines, as `tracing_subscriber` writes them.
impl Write for &Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.add(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// An output that waits for permission before each write.
    struct Output {
        permissions: Receiver<io::Result<usize>>,
        written: Sender<String>,
    }

    impl Write for Output {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let count = self.permissions.recv().unwrap_or(Ok(usize::MAX))?.min(text.len());
            self.written.send(String::from_utf8_lossy(&text[..count]).into_owned()).unwrap();
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fixture {
        lines: Arc<Lines>,
        permissions: Sender<io::Result<usize>>,
        written: Receiver<String>,
    }

    impl Fixture {
        fn new() -> Self {
            let lines = Arc::<Lines>::default();
            let (permissions, permitted) = channel();
            let (sender, written) = channel();
            let reporting = Arc::clone(&lines);
            let report = move |dropped: u64| reporting.add(format!("dropped {dropped}\n").as_bytes());
            lines.write_to(Output { permissions: permitted, written: sender }, report).unwrap();
            Self { lines, permissions, written }
        }

        fn permit(&self, result: io::Result<usize>) {
            self.permissions.send(result).unwrap();
        }

        #[track_caller]
        fn assert_written(&self, expected: &str) {
            assert_eq!(self.written.recv_timeout(PATIENCE).unwrap(), expected);
        }
    }

    #[test]
    fn lines_are_written_in_order_and_together() {
        let Fixture { lines, permissions, written } = Fixture::new();
        drop(permissions);
        for n in 0..1000 {
            lines.add(format!("{n}\n").as_bytes());
        }
        lines.flush(PATIENCE);
        let text: String = written.try_iter().collect();
        let expected = (0..1000).map(|n| format!("{n}\n")).collect::<Vec<_>>().concat();
        assert_eq!(text, expected);
        assert_eq!(lines.dropped.get(), 0);
    }

    #[test]
    fn a_reader_that_has_stopped_delays_nothing_and_hears_what_it_missed() {
        let fixture = Fixture::new();
        let lines = &fixture.lines;
        lines.add(b"first\n");
        fixture.permit(Ok(2));
        fixture.assert_written("fi");
        // Now the output blocks.
        let long = [vec![b'x'; MAX_WAITING / 2 - 1], b"\n".to_vec()].concat();
        for _ in 0..5 {
            lines.add(&long);
        }
        lines.add(b"not\nthese\n");
        assert_eq!(lines.dropped.get(), 5);
        lines.flush(Duration::from_millis(1));
        fixture.permit(Ok(usize::MAX));
        fixture.assert_written("rst\n");
        drop(fixture.permissions);
        lines.flush(PATIENCE);
        let rest: String = fixture.written.try_iter().collect();
        assert_eq!(rest, [&long[..], &long, b"dropped 5\n"].map(String::from_utf8_lossy).concat());
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let fixture = Fixture::new();
        let lines = &fixture.lines;
        lines.add(b"one\ntwo\nthree\n");
        fixture.permit(Ok(6));
        fixture.assert_written("one\ntw");
        fixture.permit(Err(io::ErrorKind::Interrupted.into()));
        fixture.permit(Err(io::ErrorKind::WouldBlock.into()));
        fixture.permit(Err(io::ErrorKind::StorageFull.into()));
        lines.flush(PATIENCE);
        assert_eq!(lines.dropped.get(), 2);
        lines.add(b"four\n");
        drop(fixture.permissions);
        lines.flush(PATIENCE);
        let rest: String = fixture.written.try_iter().collect();
        assert_eq!(rest, "four\ndropped 2\n");
    }
}
