//! Who joins late sees what is there: a screen's dump in a terminal of another kind, beside one that was there from the beginning.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sally::screen::{Depth, Filter, FrameView, Permits, Screen, ScreenSize};
use serde_json::{Value, json};

use super::programs::{PROGRAMS, SIZE, files, output};
use crate::support::*;

/// How often each program's output is cut.
const CUTS: usize = 16;
/// As many lines of history as tests/node/screen.js keeps.
const HISTORY: usize = 1000;
/// How many frames a viewer with another window gets of each, and the windows.
const FRAMES: usize = 16;
const WINDOWS: [(u16, u16); 3] = [(120, 40), (60, 20), (100, 30)];
/// The sizes that both terminals get at the end.
const RESIZES: [(u16, u16); 3] = [(67, 19), (131, 43), (100, 30)];

/// Numbers from a seed, the same every time.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    }
}

/// Calls `take` with an output in pieces of random lengths.
fn in_pieces(output: &[u8], random: &mut impl FnMut(usize) -> usize, mut take: impl FnMut(&[u8])) {
    let mut rest = output;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random(700)).min(rest.len()));
        take(piece);
        rest = after;
    }
}

/// What a viewer gets who joins here: a dump, then what passes of the rest.
fn cut(output: &[u8], at: usize, random: &mut impl FnMut(usize) -> usize) -> Value {
    let (mut screen, mut filter, mut passed) = (Screen::new(SIZE, HISTORY), Filter::new(Permits::ALL), Vec::new());
    in_pieces(&output[..at], random, |piece| screen.feed(piece));
    in_pieces(&output[..at], random, |piece| filter.pass(piece, &mut passed));
    passed.clear();
    in_pieces(&output[at..], random, |piece| filter.pass(piece, &mut passed));
    json!({ "at": at, "dump": BASE64_STANDARD.encode(screen.dump(HISTORY, Permits::ALL)), "rest": BASE64_STANDARD.encode(passed) })
}

/// What a viewer with another window gets: frames at some bytes, each as what differs from the last one.
fn frames(output: &[u8], (columns, rows): (u16, u16), random: &mut impl FnMut(usize) -> usize) -> Value {
    let size = ScreenSize { columns, rows };
    let view = FrameView { size, depth: Depth::True, permits: Permits::ALL, name: "alice", notice: None };
    let mut ends: Vec<usize> = (0..FRAMES).map(|_| random(output.len())).chain([output.len()]).collect();
    ends.sort_unstable();
    let (mut screen, mut before, mut at) = (Screen::new(SIZE, 0), None, 0);
    let frames: Vec<Value> = ends
        .into_iter()
        .map(|end| {
            screen.feed(&output[at..end]);
            at = end;
            let (bytes, frame) = screen.frame(&view, before.as_ref());
            let ((left, top), (columns, rows)) = (frame.origin(), frame.area());
            before = Some(frame);
            json!({ "at": end, "bytes": BASE64_STANDARD.encode(bytes), "left": left, "top": top, "columns": columns, "rows": rows })
        })
        .collect();
    json!({ "columns": columns, "rows": rows, "frames": frames })
}

/// Has the other terminals compare, and returns what they differ in.
fn compared(jobs: &[Value]) -> Vec<Value> {
    let mut child = node("screen.js").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every program's output, by its name.
fn outputs() -> BTreeMap<&'static str, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    thread::scope(|scope| {
        let started: Vec<_> = PROGRAMS.iter().map(|program| (program.0, scope.spawn(|| output(program, folder.path())))).collect();
        started.into_iter().map(|(name, output)| (name, output.join().unwrap())).collect()
    })
}

#[test]
fn a_viewer_who_joins_at_any_byte_sees_what_is_there() {
    let outputs = outputs();
    let jobs: Vec<Value> = outputs
        .iter()
        .map(|(name, output)| {
            assert!(output.len() > 500, "{name} wrote {} bytes: {:?}", output.len(), String::from_utf8_lossy(output));
            let mut random = numbers(name.bytes().map(u64::from).sum());
            let cuts: Vec<Value> = (0..CUTS).map(|_| cut(output, random(output.len() + 1), &mut random)).collect();
            let views: Vec<Value> = WINDOWS.iter().map(|size| frames(output, *size, &mut random)).collect();
            json!({
                "name": name, "columns": SIZE.columns, "rows": SIZE.rows, "output": BASE64_STANDARD.encode(output), "cuts": cuts,
                "frames": views, "resizes": RESIZES,
            })
        })
        .collect();
    let found = compared(&jobs);
    let bad: std::collections::BTreeSet<_> = found.iter().map(|found| (found["name"].to_string(), found["at"].to_string())).collect();
    let lines: Vec<String> = found.iter().map(Value::to_string).collect();
    assert!(found.is_empty(), "{} of {} cuts differ:\n{}", bad.len(), jobs.len() * CUTS, lines.join("\n"));
}
