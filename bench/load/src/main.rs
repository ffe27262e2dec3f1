//! Thousands of devices in one process, for benchmarks: they connect, say that they are online, wait for wakes, and answer nothing.
//!
//! `fleet` makes the files of a fleet that a listener needs; devices have one key among them, and each a certificate of its own, made when it
//! connects. `listen` runs the relay's MQTT listener alone. `connect` is the devices.

mod certificates;
mod devices;

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use sally::broker::{Broker, BrokerConfig, BrokerLimits, ClientIdentification};

use self::devices::Devices;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
enum Args {
    /// Makes the files of a fleet with so many devices
    Fleet { folder: PathBuf, devices: usize },
    /// Runs the MQTT listener until stdin ends
    Listen {
        address: SocketAddr,
        /// The files of a fleet: TLS
        #[arg(long)]
        fleet: Option<PathBuf>,
    },
    /// Connects so many devices, says so on stdout, and holds them until stdin ends
    Connect {
        address: SocketAddr,
        devices: usize,
        /// The files of a fleet: TLS
        #[arg(long)]
        fleet: Option<PathBuf>,
        /// How many may be connecting at once
        #[arg(long, default_value_t = 64)]
        at_once: usize,
        /// Those that are cut off come back, at an agent's pace; says each second how many are there and how many came
        #[arg(long)]
        again: bool,
    },
}

#[tokio::main]
async fn main() -> Outcome<()> {
    match Args::parse() {
        Args::Fleet { folder, devices } => certificates::make(&folder, devices),
        Args::Listen { address, fleet } => {
            let identity = fleet.map_or(ClientIdentification::Unproven { insecure: false }, ClientIdentification::Certificates);
            let limits = BrokerLimits { retained_unproven: usize::MAX, ..BrokerLimits::default() };
            let broker = Broker::start(BrokerConfig { listen: address, identity, prefix: "".parse()?, limits })?;
            say(&format!("listening on {}", broker.address()))?;
            stdin_ends().await
        }
        Args::Connect { address, devices, fleet, at_once, again } => {
            let all = Devices::new(address, fleet.as_deref(), at_once)?;
            if again {
                return tokio::select! {
                    broken = all.keep_all(devices) => broken,
                    ended = stdin_ends() => ended,
                };
            }
            let held = all.connect_all(devices).await?;
            say(&format!("connected {}", held.len()))?;
            stdin_ends().await
        }
    }
}

fn say(line: &str) -> Outcome<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

async fn stdin_ends() -> Outcome<()> {
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
