//! Hosts of their own in network namespaces: devices behind a real NAT, and a relay on the public side of it.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{as_root, python, tool};
use super::{Client, run, skipped, text};

/// Where the relay is reached.
pub const RELAY: &str = "198.51.100.2";

/// `device` and `spare` (192.168.77.2 and .3) behind `nat`, which is 198.51.100.1 outside; `relay` is 198.51.100.2. Gone when dropped.
pub struct Lab {
    prefix: String,
    lag: Option<Client>,
}

const HOSTS: [&str; 4] = ["device", "spare", "nat", "relay"];

/// What leaves has the NAT's address, and nothing comes in that wasn't asked for.
const NAT: &str = "
table ip nat { chain out { type nat hook postrouting priority 100; oifname \"wan\" masquerade random; }; }
table inet filter { chain pass { type filter hook forward priority 0; policy drop; iifname \"lan\" accept; ct state established,related accept; }; }
";

impl Lab {
    /// None where this machine gives no namespaces: said on stderr, loudly.
    pub fn new(test: &str) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("sally{}n{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let lab = Self { prefix, lag: None };
        let possible = as_root() && run(tool("ip", "iproute2").args(["netns", "add", &lab.name("nat")])).status.success();
        if !possible {
            skipped(test, "network namespaces need root, and are not to be had here");
            return None;
        }
        lab.wire();
        Some(lab)
    }

    /// The same with a link outside the NAT that takes so many seconds each way and loses a share of what it carries.
    pub fn slow(test: &str, delay: f32, loss: f32) -> Option<Self> {
        let mut lab = Self::new(test)?;
        if File::options().read(true).write(true).open("/dev/net/tun").is_err() {
            skipped(test, "this kernel has no /dev/net/tun");
            return None;
        }
        lab.in_host("nat", &["link", "del", "wan"]);
        let mut link = python("lag.py");
        link.args([&lab.name("nat"), "wan", &lab.name("relay"), "wan", &delay.to_string(), &loss.to_string()]);
        let mut link = Client::start(&mut link);
        link.await_line("up");
        lab.lag = Some(link);
        lab.outside();
        Some(lab)
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn wire(&self) {
        let ip = |arguments: &[&str]| succeed(tool("ip", "iproute2").args(arguments));
        for host in HOSTS.iter().filter(|host| **host != "nat") {
            ip(&["netns", "add", &self.name(host)]);
        }
        for host in HOSTS {
            self.in_host(host, &["link", "set", "lo", "up"]);
        }
        self.in_host("nat", &["link", "add", "lan", "type", "bridge"]);
        self.in_host("nat", &["addr", "add", "192.168.77.1/24", "dev", "lan"]);
        self.in_host("nat", &["link", "set", "lan", "up"]);
        for (host, address) in [("device", "192.168.77.2/24"), ("spare", "192.168.77.3/24")] {
            ip(&["link", "add", "lan", "netns", &self.name(host), "type", "veth", "peer", "name", host, "netns", &self.name("nat")]);
            self.in_host("nat", &["link", "set", host, "master", "lan", "up"]);
            self.in_host(host, &["addr", "add", address, "dev", "lan"]);
            self.in_host(host, &["link", "set", "lan", "up"]);
            self.in_host(host, &["route", "add", "default", "via", "192.168.77.1"]);
        }
        ip(&["link", "add", "wan", "netns", &self.name("nat"), "type", "veth", "peer", "name", "wan", "netns", &self.name("relay")]);
        self.outside();
        self.at("nat", || fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        self.filter(NAT);
    }

    fn outside(&self) {
        for (host, address) in [("nat", "198.51.100.1/24"), ("relay", "198.51.100.2/24")] {
            self.in_host(host, &["addr", "add", address, "dev", "wan"]);
            self.in_host(host, &["link", "set", "wan", "up"]);
        }
    }

    fn in_host(&self, host: &str, arguments: &[&str]) {
        succeed(tool("ip", "iproute2").args(["-n", &self.name(host)]).args(arguments));
    }

    fn filter(&self, rules: &str) {
        let rules = rules.to_owned();
        let loaded = self.at("nat", move || super::run_with(tool("nft", "nftables").args(["-f", "-"]), rules.as_bytes()));
        assert!(loaded.status.success(), "nft: {}", text(&loaded.stderr));
    }

    /// Does this on a host: what is started, bound or dialled there, is there.
    pub fn at<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(host))).unwrap();
        thread::scope(|scope| {
            let there = scope.spawn(move || {
                use std::os::fd::AsFd as _;
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// From now on the way outside the NAT carries so many kilobits a second, each way.
    pub fn narrow(&self, kilobits: u32) {
        for host in ["nat", "relay"] {
            let mut limit = tool("tc", "iproute2");
            limit.args(["-n", &self.name(host), "qdisc", "add", "dev", "wan", "root", "tbf"]);
            succeed(limit.args(["rate", &format!("{kilobits}kbit"), "burst", "16k", "latency", "400ms"]));
        }
    }

    /// Nothing gets through the NAT any more, and nobody is told.
    pub fn cut(&self) {
        self.filter("table inet cut { chain pass { type filter hook forward priority -10; policy drop; }; }");
    }

    /// It does again.
    pub fn heal(&self) {
        self.at("nat", || succeed(tool("nft", "nftables").args(["delete", "table", "inet", "cut"])));
    }

    /// A host vanishes: no FIN, no RST, never again.
    pub fn pull(&self, host: &str) {
        self.in_host(host, &["link", "set", "lan", "down"]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.lag = None;
        // The links at once: the kernel takes its time over a namespace.
        for host in HOSTS {
            let quietly = |arguments: &[&str]| {
                let _ = Command::new("ip").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
            };
            quietly(&["-n", &self.name(host), "link", "del", "wan"]);
            quietly(&["-n", &self.name(host), "link", "del", "lan"]);
            quietly(&["netns", "del", &self.name(host)]);
        }
    }
}

fn succeed(command: &mut Command) {
    let done = run(command);
    assert!(done.status.success(), "{command:?}: {}", text(&done.stderr));
}

/// The same command for another address than loopback.
pub fn elsewhere(command: &Command, address: &str) -> Command {
    let mut other = Command::new(command.get_program());
    other.args(command.get_args().map(|arg| if arg == "127.0.0.1" { address.as_ref() } else { arg }));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}
