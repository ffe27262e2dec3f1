//! Tests files, devices and pipes, and what can happen to them.

use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use sally_proto::record::Verdict;

use super::*;

fn open(path: &Path) -> Result<RecordSink, RecordError> {
    RecordSink::open(&RecordTarget::File(path.to_owned()), false)
}

#[test]
fn a_file_is_made_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("visit.cast");
    let recorder = record_to(&file, Policy::All);
    recorder.seal().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(verdict(&std::fs::read(&file).unwrap()).unwrap().verdict, Verdict::Sealed);
}

#[test]
fn what_a_file_holds_is_never_overwritten_and_never_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("visit.cast");
    std::fs::write(&file, "").unwrap();
    open(&file).unwrap();
    std::fs::write(&file, "x").unwrap();
    let error = open(&file).unwrap_err();
    assert!(error.to_string().contains("it is not empty"), "{error}");
    assert!(error.to_string().starts_with(&format!("Could not write to log file {}: ", file.display())));
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
}

#[test]
fn what_can_not_be_opened_is_refused_with_the_systems_reason() {
    for (path, reason) in [("/nonexistent/x", "No such file or directory"), ("/tmp", "Is a directory"), ("/proc/x", "No such file")] {
        let error = open(Path::new(path)).unwrap_err();
        assert!(error.reason().contains(reason) && !error.reason().contains("os error"), "{path}: {error}");
    }
}

#[test]
fn a_full_device_is_noticed_at_the_first_line() {
    let sink = open(Path::new("/dev/full")).unwrap();
    assert!(sink.may_block());
    let error = Recorder::start(sink, settings(Policy::All), key()).unwrap_err();
    assert_eq!(error.reason(), "No space left on device");
}

#[test]
fn devices_can_be_written_and_no_link_is_followed() {
    let sink = open(Path::new("/dev/null")).unwrap();
    let recorder = Recorder::start(sink, settings(Policy::All), key()).unwrap();
    recorder.tick().unwrap();
    recorder.seal().unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(dir.path().join("target"), dir.path().join("link")).unwrap();
    assert!(open(&dir.path().join("link")).unwrap_err().reason().contains("symbolic link"));
    assert!(!dir.path().join("target").exists());
}

#[test]
fn a_file_that_is_taken_away_ends_the_record() {
    type TakeAway = (&'static str, fn(&Path));
    let take_away: [TakeAway; 5] = [
        ("shortened", |file| std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()),
        ("removed", |file| std::fs::remove_file(file).unwrap()),
        ("no longer at its path", |file| std::fs::rename(file, file.with_extension("old")).unwrap()),
        ("removed", |file| {
            std::fs::write(file.with_extension("new"), "").and_then(|()| std::fs::rename(file.with_extension("new"), file)).unwrap()
        }),
        ("replaced", |file| {
            std::fs::rename(file, file.with_extension("old")).unwrap();
            std::fs::write(file, "").unwrap();
        }),
    ];
    for (reason, take_away) in take_away {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("visit.cast");
        let recorder = record_to(&file, Policy::All);
        recorder.marker("here").unwrap();
        recorder.tick().unwrap();
        take_away(&file);
        let error = recorder.tick().unwrap_err();
        assert!(error.reason().contains(reason), "{reason}: {error}");
        assert!(recorder.marker("gone").is_err());
    }
}

#[test]
fn a_file_taken_away_is_noticed_by_writes_too_and_by_the_seal() {
    let dir = tempfile::tempdir().unwrap();
    for seal in [false, true] {
        let file = dir.path().join(format!("{seal}.cast"));
        let recorder = record_to(&file, Policy::All);
        recorder.marker("here").unwrap();
        std::fs::remove_file(&file).unwrap();
        if seal {
            assert!(recorder.seal().is_err());
        } else {
            std::thread::sleep(Duration::from_millis(1100));
            assert!(recorder.marker("gone").is_err());
        }
    }
}

/// Tests a FIFO: the record is written at one end and read at the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slow_reader_of_a_pipe_keeps_the_writer_waiting_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || {
            let mut pipe = std::fs::File::open(fifo).unwrap();
            wait.recv().unwrap();
            let mut all = Vec::new();
            pipe.read_to_end(&mut all).unwrap();
            all
        }
    });
    let sink = tokio::task::spawn_blocking(move || open(&fifo).unwrap()).await.unwrap();
    assert!(sink.may_block());
    let recorder = Recorder::start(sink, settings(Policy::All), key()).unwrap();
    let writer = tokio::spawn(async move {
        // More bytes than a pipe holds.
        recorder.stream(0, StreamKind::Stdout).record(&[b'x'; 500_000]).unwrap();
        recorder.seal().unwrap();
    });
    // The only worker thread is free for this meanwhile.
    tokio::spawn(async {
        // Long enough for the record's own task to run, which must not wait for the writer either.
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await
    .unwrap();
    assert!(!writer.is_finished());
    go.send(()).unwrap();
    writer.await.unwrap();
    let all = reader.join().unwrap();
    assert_eq!(verdict(&all).unwrap().verdict, Verdict::Sealed);
}

#[test]
fn a_fifo_that_nobody_reads_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(open(&fifo).unwrap_err().reason(), "no program reads from it");
}

#[test]
fn a_pipe_nobody_reads_any_more_ends_the_record() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&write));
    let sink = open(Path::new(&path)).unwrap();
    let recorder = Recorder::start(sink, settings(Policy::All), key()).unwrap();
    drop(read);
    assert_eq!(recorder.marker("x").unwrap_err().reason(), "Broken pipe");
}

#[test]
fn a_pipe_that_does_not_block_is_waited_for() {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let sink = RecordSink::from_fd(write, "pipe", true).unwrap();
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        rustix::io::ioctl_fionbio(&read, false).unwrap();
        let mut all = Vec::new();
        std::fs::File::from(read).read_to_end(&mut all).unwrap();
        all
    });
    let recorder = Recorder::start(sink, settings(Policy::All), key()).unwrap();
    recorder.stream(0, StreamKind::Stdout).record(&[0xff; 300_000]).unwrap();
    recorder.seal().unwrap();
    drop(recorder);
    assert_eq!(verdict(&reader.join().unwrap()).unwrap().verdict, Verdict::Sealed);
}
