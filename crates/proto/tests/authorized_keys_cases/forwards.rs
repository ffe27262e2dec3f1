//! What may be forwarded.

use super::Forward;
use super::Port::{Given, Zero};
use super::Way::{Listen, Open};

const fn open(name: &'static str, file: &'static str, host: &'static str, permitted: bool) -> Forward {
    Forward { name, file, way: Open, host, port: Given, permitted }
}

const fn listen(name: &'static str, file: &'static str, host: &'static str, permitted: bool) -> Forward {
    Forward { name, file, way: Listen, host, port: Given, permitted }
}

pub const FORWARDS: &[Forward] = &[
    open("a bare key opens", "{ed}\n", "127.0.0.1", true),
    open("no-port-forwarding", "no-port-forwarding {ed}\n", "127.0.0.1", false),
    open("restrict, opening", "restrict {ed}\n", "127.0.0.1", false),
    open("restrict and port-forwarding", "restrict,port-forwarding {ed}\n", "127.0.0.1", true),
    open("the permitted host and port", "permitopen=\"127.0.0.1:{port}\" {ed}\n", "127.0.0.1", true),
    open("restrict and permitopen", "restrict,permitopen=\"127.0.0.1:{port}\" {ed}\n", "127.0.0.1", false),
    open("restrict, port-forwarding and permitopen", "restrict,port-forwarding,permitopen=\"127.0.0.1:{port}\" {ed}\n", "127.0.0.1", true),
    open("another port", "permitopen=\"127.0.0.1:{free}\" {ed}\n", "127.0.0.1", false),
    open("another host", "permitopen=\"127.0.0.2:{port}\" {ed}\n", "127.0.0.1", false),
    open("another name for the host", "permitopen=\"localhost:{port}\" {ed}\n", "127.0.0.1", false),
    open("the name", "permitopen=\"localhost:{port}\" {ed}\n", "localhost", true),
    open("the name in capitals", "permitopen=\"LOCALHOST:{port}\" {ed}\n", "localhost", false),
    open("any port", "permitopen=\"127.0.0.1:*\" {ed}\n", "127.0.0.1", true),
    open("any host", "permitopen=\"*:{port}\" {ed}\n", "127.0.0.1", true),
    open("patterns are not for permitopen", "permitopen=\"127.0.0.?:{port}\" {ed}\n", "127.0.0.1", false),
    open("the second of two", "permitopen=\"a:1\",permitopen=\"127.0.0.1:{port}\" {ed}\n", "127.0.0.1", true),
    open("brackets around IPv4", "permitopen=\"[127.0.0.1]:{port}\" {ed}\n", "127.0.0.1", true),
    open("permitlisten says nothing about opening", "permitlisten=\"1\" {ed}\n", "127.0.0.1", true),
    listen("a bare key listens", "{ed}\n", "localhost", true),
    listen("no-port-forwarding, listening", "no-port-forwarding {ed}\n", "localhost", false),
    listen("the permitted port", "permitlisten=\"{free}\" {ed}\n", "localhost", true),
    listen("the permitted port on all addresses", "permitlisten=\"{free}\" {ed}\n", "", true),
    listen("another port, listening", "permitlisten=\"1\" {ed}\n", "localhost", false),
    listen("the permitted host, listening", "permitlisten=\"localhost:{free}\" {ed}\n", "localhost", true),
    listen("another name for the host, listening", "permitlisten=\"localhost:{free}\" {ed}\n", "127.0.0.1", false),
    listen("all addresses where one is permitted", "permitlisten=\"localhost:{free}\" {ed}\n", "", false),
    listen("patterns are for permitlisten", "permitlisten=\"127.0.0.?:{free}\" {ed}\n", "127.0.0.1", true),
    listen("names are compared in lower case", "permitlisten=\"localhost:{free}\" {ed}\n", "LocalHost", true),
    listen("a rule in capitals matches nothing", "permitlisten=\"LOCALHOST:{free}\" {ed}\n", "localhost", false),
    listen("an empty host permits all addresses", "permitlisten=\":{free}\" {ed}\n", "", true),
    listen("an empty host permits no other", "permitlisten=\":{free}\" {ed}\n", "localhost", false),
    listen("permitopen says nothing about listening", "permitopen=\"a:1\" {ed}\n", "localhost", true),
    Forward { name: "any free port", file: "{ed}\n", way: Listen, host: "localhost", port: Zero, permitted: true },
    Forward {
        name: "any free port where one is permitted",
        file: "permitlisten=\"{free}\" {ed}\n",
        way: Listen,
        host: "localhost",
        port: Zero,
        permitted: false,
    },
    Forward {
        name: "any free port where all are permitted",
        file: "permitlisten=\"localhost:*\" {ed}\n",
        way: Listen,
        host: "localhost",
        port: Zero,
        permitted: true,
    },
];
