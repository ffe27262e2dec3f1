//! The broker that a fleet has, where it isn't the relay's own.

use std::process::{Child, Command, Stdio};

use super::{Client, Fleet, Stderr, free_port, node, run, text, tool};

/// A stock mosquitto, or aedes, that knows the fleet's certificates and lets each device at its own topics. Killed when dropped.
pub struct Broker {
    /// None where the relay is the broker itself.
    child: Option<Child>,
    command: Option<Command>,
    /// Where whoever owns it reads and writes everything.
    pub owners_port: u16,
}

/// Who may do what, by the common name of a certificate: the list that deploy/mosquitto ships.
const ACL: &str = include_str!("../../deploy/mosquitto/acl");

/// Whose broker it is that a fleet has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Mosquitto,
    Aedes,
    /// The relay's own.
    Sally,
}

impl Broker {
    pub fn mosquitto(fleet: &Fleet, port: u16) -> Self {
        let file = |name: &str| fleet.path(&format!("FLEET/relay/{name}")).display().to_string();
        let owners_port = free_port();
        let acl = fleet.home.write("acl", ACL).display().to_string();
        let config = format!(
            "per_listener_settings true\nlistener {owners_port} 127.0.0.1\nallow_anonymous true\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\ncrlfile {}\nrequire_certificate true\n\
             use_identity_as_username true\nacl_file {acl}\nuser root\nlog_dest stderr\nlog_type all\n",
            file("tls_ca.pem"),
            file("tls.pem"),
            file("tls.key"),
            file("tls.crl"),
        );
        let mut mosquitto = tool("mosquitto", "mosquitto");
        mosquitto.arg("-c").arg(fleet.home.write("mosquitto.conf", config));
        Self::running(mosquitto, owners_port)
    }

    pub fn aedes(fleet: &Fleet, port: u16) -> Self {
        let mut aedes = node("broker.js");
        aedes.arg(port.to_string()).arg(fleet.path("FLEET/relay"));
        Self::running(aedes, port)
    }

    pub fn none(port: u16) -> Self {
        Self { child: None, command: None, owners_port: port }
    }

    fn running(command: Command, owners_port: u16) -> Self {
        let mut broker = Self { child: None, command: Some(command), owners_port };
        broker.start_again();
        broker
    }

    /// mosquitto_pub or mosquitto_sub as whoever owns the broker.
    pub fn owner(&self, program: &str) -> Command {
        let mut command = tool(program, "mosquitto-clients");
        command.args(["-h", "127.0.0.1", "-q", "1", "-p", &self.owners_port.to_string()]);
        command
    }

    /// The owner listens.
    pub fn overhear(&self, topics: &str) -> Client {
        let stock = self.owner("mosquitto_sub");
        let mut listener = tool("stdbuf", "coreutils");
        let mut listener = Client::start(listener.arg("-oL").arg(stock.get_program()).args(stock.get_args()).args(["-d", "-t", topics]));
        listener.await_line("Subscribed");
        listener
    }

    /// The owner publishes.
    pub fn publish(&self, topic: &str, payload: &str) {
        let sent = run(self.owner("mosquitto_pub").args(["-t", topic, "-m", payload]));
        assert!(sent.status.success(), "{}", text(&sent.stderr));
    }

    pub fn stop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn start_again(&mut self) {
        let command = self.command.as_mut().unwrap();
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = Stderr::of(&mut child);
        said.await_words(" running");
        self.child = Some(child);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}
