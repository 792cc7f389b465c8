//! The file of a backup on a disk: written under another name until it is whole, read back once before it is given
//! its own, and walked by its readers.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use everhold_core::durability::backup::{BackupError, BackupFrame, BackupIndex, BackupReader, BackupWriter};

use super::super::UsageError;
use super::super::history::{CodedError, file_error};

/// Bytes that are read, or written, at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A backup that is being written. One that is given up leaves no file.
pub(super) struct BackupDraft {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    writer: BackupWriter,
    bytes: u64,
    is_whole: bool,
}

impl BackupDraft {
    /// Begins a file that its owner alone can read: characters are in it, and the hashes of sessions' secrets.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        refuse_existing(path)?;
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // One that was left behind is of no use. One that another backup writes is locked.
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let file = options
            .open(&part)
            .with_context(|| format!("make the file {}", part.display()))?;
        if file.try_lock().is_err() {
            let why = format!("another backup is writing {}", part.display());
            return Err(CodedError::new("file_in_use", why).into());
        }
        file.set_len(0).map_err(file_error)?;
        let (writer, first) = BackupWriter::begin();
        let mut draft = Self {
            path: path.to_owned(),
            part,
            file: BufWriter::with_capacity(PIECE_BYTES, file),
            writer,
            bytes: 0,
            is_whole: false,
        };
        draft.append(&first)?;
        Ok(draft)
    }

    pub(super) fn write(&mut self, frame: &BackupFrame) -> anyhow::Result<()> {
        let bytes = self.writer.frame(frame);
        self.append(&bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).map_err(file_error)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Returns the length so far, bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the directory of the file.
    pub(super) fn directory(&self) -> &Path {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        directory.unwrap_or_else(|| Path::new("."))
    }

    /// Ends the file, reads it back, and gives it its name: after that a power loss takes neither the file nor the
    /// name.
    pub(super) fn finish(mut self) -> anyhow::Result<BackupIndex> {
        let end = self.writer.clone().finish();
        self.append(&end)?;
        self.file.flush().map_err(file_error)?;
        self.file.get_ref().sync_all().map_err(file_error)?;
        let index = walk(&self.part, &mut |_, _| Ok(()))?;
        refuse_existing(&self.path)?;
        std::fs::rename(&self.part, &self.path).map_err(file_error)?;
        self.is_whole = true;
        let directory = self.directory();
        let named = File::open(directory).and_then(|directory| directory.sync_all());
        named.with_context(|| format!("name the file {}", self.path.display()))?;
        Ok(index)
    }
}

impl Drop for BackupDraft {
    fn drop(&mut self) {
        if !self.is_whole
            && let Err(error) = std::fs::remove_file(&self.part)
        {
            tracing::warn!(file = %self.part.display(), %error, "a part of a backup is left behind");
        }
    }
}

/// Refuses a file that is there.
fn refuse_existing(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(UsageError(format!("{} is there already: name another file", path.display())).into());
    }
    Ok(())
}

fn unreadable(error: &BackupError) -> CodedError {
    CodedError::new(error.code(), super::super::history::chained(error))
}

/// Reads a backup to its end, and checks it as a whole. `each` takes every frame, with the index up to and including
/// it.
pub(in crate::cli) fn walk(
    path: &Path,
    each: &mut dyn FnMut(&BackupFrame, &BackupIndex) -> anyhow::Result<()>,
) -> anyhow::Result<BackupIndex> {
    let mut frames = BackupFrames::open(path)?;
    let mut index = BackupIndex::default();
    while let Some(frame) = frames.next()? {
        index.take(&frame).map_err(|error| unreadable(&error))?;
        each(&frame, &index)?;
    }
    index.finish().map_err(|error| unreadable(&error))?;
    Ok(index)
}

/// The frames of a file, one after the other.
pub(in crate::cli) struct BackupFrames {
    file: BufReader<File>,
    reader: BackupReader,
    piece: Vec<u8>,
    has_ended: bool,
}

impl BackupFrames {
    pub(in crate::cli) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).map_err(|error| CodedError::new("file", format!("{}: {error}", path.display())))?;
        Ok(Self::of(file))
    }

    /// Reads a file from where it is.
    pub(in crate::cli) fn of(file: File) -> Self {
        Self {
            file: BufReader::new(file),
            reader: BackupReader::default(),
            piece: vec![0; PIECE_BYTES],
            has_ended: false,
        }
    }

    /// Reads the next frame; `None`: the file ended as it ought to.
    pub(in crate::cli) fn next(&mut self) -> anyhow::Result<Option<BackupFrame>> {
        loop {
            if let Some(frame) = self.reader.poll().map_err(|error| unreadable(&error))? {
                return Ok(Some(frame));
            }
            if self.has_ended {
                self.reader.finish().map_err(|error| unreadable(&error))?;
                return Ok(None);
            }
            let len = self.file.read(&mut self.piece).map_err(file_error)?;
            self.has_ended = len == 0;
            self.reader.push(&self.piece[..len]);
        }
    }
}

/// Prints what is in a backup.
pub(in crate::cli) fn print_index(path: &Path, index: &BackupIndex) -> anyhow::Result<()> {
    let count =
        |of: fn(&everhold_core::durability::backup::ZoneLine) -> u64| index.zones().values().map(of).sum::<u64>();
    super::super::print(format_args!(
        "{}: {} zones, {} accounts: {} characters in zones, {} at rest; {} deleted, {} with a \
         ban or one that was lifted; {} moves of value",
        path.display(),
        index.zones().len(),
        index.accounts(),
        count(|line| line.residents),
        count(|line| line.rests),
        index.deleted(),
        index.bans(),
        count(|line| line.ledger),
    ))?;
    for (name, sum) in index.sums() {
        super::super::print(format_args!("all characters together: {name} {sum}"))?;
    }
    Ok(())
}
