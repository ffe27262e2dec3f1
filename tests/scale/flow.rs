//! Backpressure: a slow reader slows its own writer, and nothing grows without bound.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::support::*;

/// What a server may grow by, in KiB, whatever streams through it: a window each way and the buffers around it.
const GROWTH: u64 = 64 << 10;

/// Pushes `data` through a command of the visit and reads the answer, `pace` between two pieces of it; the largest RSS meanwhile.
fn duplex(home: &Home, server: &Server, options: &[&str], command: &str, data: Vec<u8>, pace: Duration) -> (Vec<u8>, u64) {
    let id = home.path("id");
    let options: Vec<_> = options.iter().copied().chain(["-i", id.to_str().unwrap()]).collect();
    let mut ssh = home.ssh_with(server.port, &options).arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let pushing = thread::spawn(move || stdin.write_all(&data));
    let (mut got, mut rss) = (Vec::new(), 0);
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = stdout.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        got.extend_from_slice(&piece[..read]);
        rss = rss.max(status_field(server.child.id(), "VmRSS:").unwrap_or(0));
        thread::sleep(pace);
    }
    pushing.join().unwrap().unwrap();
    assert!(wait(&mut ssh).success());
    (got, rss)
}

#[test]
fn full_duplex_at_full_speed() {
    let _turn = big();
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.rss();
    let data = noise(48 << 20);
    let (got, rss) = duplex(&home, &server, &[], "cat", data.clone(), Duration::ZERO);
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    assert!(rss < before + GROWTH, "{before} KiB grew to {rss}");
    assert_eq!(server.wait().0.code(), Some(0));
}

/// A stock russh 0.65.1 sticks for good after 4 MB (patches/README.md).
#[test]
fn full_duplex_with_a_slow_reader() {
    let _turn = big();
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.rss();
    let data = noise(48 << 20);
    // 64 KiB in 3 ms: some 20 MB/s. The pace is what is tested; nothing is awaited by it.
    let (got, rss) = duplex(&home, &server, &[], "cat", data.clone(), Duration::from_millis(3));
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    assert!(rss < before + GROWTH, "{before} KiB grew to {rss}");
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}

#[test]
fn a_stopped_client_stops_the_command_and_fills_no_memory() {
    let _turn = big();
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut ssh = home.ssh(&server).arg("echo $$; exec yes").stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = ssh.stdout.take().unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        first.extend_from_slice(&byte);
    }
    let yes: u32 = text(&first).trim().parse().unwrap();
    let before = server.rss();
    let signal = |name: &str| assert!(Command::new("kill").args(["-s", name, &ssh.id().to_string()]).status().unwrap().success());
    signal("STOP");
    quiet("the record", || home.record_length());
    let stopped = server.rss();
    assert!(stopped < before + GROWTH, "{before} KiB grew to {stopped}");
    assert!(lives(yes), "the command waits");
    // It goes on where it stopped.
    let length = home.record_length();
    signal("CONT");
    let mut taken = vec![0; 32 << 20];
    stdout.read_exact(&mut taken).unwrap();
    assert!(taken.chunks(2).all(|line| line == b"y\n"), "nothing is lost or doubled");
    assert!(home.record_length() > length);
    signal("KILL");
    assert_eq!(wait(&mut ssh).signal(), Some(9));
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(255), "{said}");
    assert!(!lives(yes));
    home.assert_sealed(&server);
}

#[test]
fn a_client_rekeys_in_the_middle_of_both_ways() {
    let _turn = big();
    let home = Home::new();
    let mut server = home.open(&[]);
    let data = noise(24 << 20);
    // Some 24 exchanges each way, while both ways are full.
    let (got, _) = duplex(&home, &server, &["-oRekeyLimit=1M"], "cat", data.clone(), Duration::ZERO);
    assert_eq!(hash(&got), hash(&data));
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_client_rekeys_in_the_middle_of_a_download_and_of_an_upload() {
    let _turn = big();
    let home = Home::new();
    let data = noise(32 << 20);
    let file = home.write("data", &data);
    let id = home.path("id");
    let options = ["-oRekeyLimit=1M", "-i", id.to_str().unwrap()];
    let server = Server::open(home.once_to(&home.path("down.cast")));
    let down = run(home.ssh_with(server.port, &options).arg(format!("cat {}", file.display())));
    assert_eq!(hash(&down.stdout), hash(&data), "{}", text(&down.stderr));
    let server = Server::open(home.once_to(&home.path("up.cast")));
    let up = run_with(home.ssh_with(server.port, &options).arg("sha256sum"), &data);
    assert_eq!(text(&up.stdout), format!("{}  -\n", hash(&data)), "{}", text(&up.stderr));
}

#[test]
fn a_client_rekeys_by_time_in_the_middle_of_an_upload() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let piece = noise(256 << 10);
    let id = home.path("id");
    let options = ["-v", "-oRekeyLimit=default 1s", "-i", id.to_str().unwrap()];
    let mut client = Client::start(home.ssh_with(server.port, &options).arg("sha256sum"));
    // The first exchange is that of the handshake.
    for _ in 0..4 {
        client.await_stderr("SSH2_MSG_NEWKEYS received");
        client.write(&piece);
    }
    let (status, said, _) = client.finish();
    assert_eq!(said, format!("{}  -", hash(&piece.repeat(4))));
    assert_eq!((status.code(), server.wait().0.code()), (Some(0), Some(0)));
}

#[test]
fn a_client_rekeys_by_time_in_the_middle_of_both_ways() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let id = home.path("id");
    let options = ["-v", "-oRekeyLimit=default 1s", "-i", id.to_str().unwrap()];
    let mut client = Client::start(home.ssh_with(server.port, &options).arg("cat"));
    let mut sent = String::new();
    for exchange in 0..4 {
        client.await_stderr("SSH2_MSG_NEWKEYS received");
        let piece: String = (0..10_000).map(|line| format!("{exchange} {line} {}\n", hash(line.to_string().as_bytes()))).collect();
        client.write(&piece);
        sent += &piece;
    }
    client.await_line("3 9999 ");
    assert!(client.said().join("\n") + "\n" == sent, "what comes back is what went");
    assert_eq!((client.finish().0.code(), server.wait().0.code()), (Some(0), Some(0)));
}

/// After 1 GiB each way the server asks for new keys; a client of today would not for a long time.
#[test]
fn a_server_rekeys_by_volume_in_the_middle_of_a_download_and_of_an_upload() {
    let _turn = big();
    let home = Home::new();
    let mut server = home.open(&["--record", "head=1K"]);
    let id = home.path("id");
    let bytes: u64 = (1 << 30) + (64 << 20);
    // What goes up comes down: one visit is enough for both.
    let mut ssh = home.ssh_with(server.port, &["-v", "-i", id.to_str().unwrap()]);
    let mut ssh = ssh.arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = lines(ssh.stderr.take().unwrap());
    let mut stdin = ssh.stdin.take().unwrap();
    let pushing = thread::spawn(move || {
        let (piece, mut sent) = (noise(1 << 20), Sha256::new());
        for _ in 0..bytes >> 20 {
            stdin.write_all(&piece).unwrap();
            sent.update(&piece);
        }
        sent.finalize()
    });
    let (mut stdout, mut came, mut piece) = (ssh.stdout.take().unwrap(), Sha256::new(), vec![0; 1 << 20]);
    while let read @ 1.. = stdout.read(&mut piece).unwrap() {
        came.update(&piece[..read]);
    }
    assert_eq!(came.finalize(), pushing.join().unwrap());
    assert!(wait(&mut ssh).success());
    let begun: Vec<_> = said.iter().filter(|line| line.contains("SSH2_MSG_KEXINIT")).collect();
    let first = |exchange: &[String]| exchange.first().is_some_and(|line| line.contains("received"));
    assert!(begun.len() >= 4 && begun.chunks(2).skip(1).all(first), "the server begins after 1 GiB: {begun:?}");
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_client_rekeys_fifty_times() {
    let home = Home::new();
    let server = home.open(&[]);
    let said = run(python("hostile.py").arg("rekey-for-ever").arg(server.port.to_string()).arg(home.path("id")).arg("50"));
    assert_eq!(text(&said.stdout), "True 0\n", "{}", text(&said.stderr));
}

#[test]
fn a_torrent_of_zeros_is_recorded_in_bounded_memory() {
    let _turn = big();
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.rss();
    let (got, rss) = duplex(&home, &server, &[], "head -c 134217728 /dev/zero", Vec::new(), Duration::ZERO);
    assert!(got.len() == 128 << 20 && got.iter().all(|byte| *byte == 0), "{} bytes", got.len());
    assert!(rss < before + GROWTH, "{before} KiB grew to {rss}");
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}
