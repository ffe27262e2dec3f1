//! What a record says, read by other code than what wrote it.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Home, Server, run, sally, text};

/// The events of a record: code and data. Lines that are no events are passed over.
pub fn events(record: &str) -> Vec<(String, String)> {
    record
        .lines()
        .filter(|line| line.starts_with('['))
        .map(|line| {
            let (_, code, data): (f64, String, String) = serde_json::from_str(line).unwrap();
            (code, data)
        })
        .collect()
}

/// All bytes of one stream (`stdout`, `stderr`, `stdin`).
pub fn stream(record: &str, wanted: &str) -> Vec<u8> {
    let (mut output, mut all) = ("stdout".to_owned(), Vec::new());
    let letter = match wanted {
        "stdout" => "o:",
        "stderr" => "e:",
        _ => "i:",
    };
    for (code, data) in events(record) {
        match (code.as_str(), wanted) {
            ("a", _) => {
                let event: Value = serde_json::from_str(&data).unwrap();
                if event["event"] == "stream" && event["stream"] != "stdin" {
                    output = event["stream"].as_str().unwrap().to_owned();
                }
            }
            ("i", "stdin") => all.extend_from_slice(data.as_bytes()),
            ("o", _) if output == wanted => all.extend_from_slice(data.as_bytes()),
            ("b", _) if data.starts_with(letter) => all.extend_from_slice(&STANDARD.decode(&data[2..]).unwrap()),
            _ => {}
        }
    }
    all
}

/// `sally record verify`: exit status and everything it said.
pub fn verify(file: &Path, host_key: Option<&str>) -> (i32, String) {
    let mut command = Command::new(sally());
    command.args(["record", "verify"]).arg(file);
    if let Some(key) = host_key {
        command.args(["--host-key", key]);
    }
    let output = run(&mut command);
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

impl Home {
    pub fn record(&self) -> String {
        self.read("visit.cast")
    }

    /// The events of a record: code and data.
    pub fn events(&self, name: &str) -> Vec<(String, String)> {
        events(&self.read(name))
    }

    /// All data of one code of a record, joined.
    pub fn recorded(&self, code: &str) -> String {
        self.events("visit.cast").into_iter().filter(|(known, _)| known == code).map(|(_, data)| data).collect()
    }

    /// All bytes of one stream (`stdout`, `stderr`, `stdin`) of the record.
    pub fn stream(&self, wanted: &str) -> Vec<u8> {
        stream(&self.record(), wanted)
    }

    /// The audit events of this name.
    pub fn audits(&self, name: &str) -> Vec<Value> {
        let all = self.events("visit.cast").into_iter().filter(|(code, _)| code == "a");
        all.map(|(_, data)| serde_json::from_str::<Value>(&data).unwrap()).filter(|event| event["event"] == name).collect()
    }

    /// How long the record is by now.
    pub fn record_length(&self) -> u64 {
        fs::metadata(self.path("visit.cast")).map_or(0, |file| file.len())
    }

    /// `sally record verify` with the server's key: exit status and sentence.
    pub fn verify(&self, server: &Server) -> (i32, String) {
        verify(&self.path("visit.cast"), Some(&server.host_key))
    }

    /// The record is whole: sealed by the server's key.
    pub fn assert_sealed(&self, server: &Server) {
        let (verdict, sentence) = self.verify(server);
        assert_eq!(verdict, 0, "{sentence}");
    }
}
