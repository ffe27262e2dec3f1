//! `sally fleet rotate-wake`: publishes a second key, which devices learn first; later replaces the first key by it.

use std::fs;

use sally_proto::error::Fault;
use sally_proto::wake::WakeKeys;

use super::authority::{fresh_key, private_text, public_line};
use super::cmd::RotateArgs;
use super::files::{self, PRIVATE, PUBLIC};
use super::{FleetFolder, invalid};
use crate::term;

pub(super) fn run(args: RotateArgs) -> Result<(), Fault> {
    let fleet = FleetFolder::at(&args.fleet);
    let _lock = files::lock(&fleet.root.join("ca"))?;
    if args.retire { retire(&fleet) } else { publish(&fleet) }
}

fn publish(fleet: &FleetFolder) -> Result<(), Fault> {
    let listed = files::read_text(&fleet.relay("wake.pub"))?;
    let known = WakeKeys::parse(&listed).map_err(|error| invalid(&fleet.relay("wake.pub"), error))?;
    if known.kids().count() > 1 {
        return Err(Fault::Usage("there is a second wake key already: add --retire once every device has it".into()));
    }
    let key = fresh_key("sally wake")?;
    // The private key is written first, so that every listed key has one.
    files::replace(&fleet.relay("wake_key.next"), private_text(&key)?, PRIVATE)?;
    files::replace(&fleet.relay("wake.pub"), listed + &public_line(key.public_key())?, PUBLIC)?;
    let file = fleet.relay("wake.pub");
    term::say(&format!(
        "{} lists two keys now. Copy it into the bundle on every device, then run this again with --retire.",
        file.display()
    ));
    Ok(())
}

fn retire(fleet: &FleetFolder) -> Result<(), Fault> {
    let (key, next) = (fleet.relay("wake_key"), fleet.relay("wake_key.next"));
    let listed = files::read_text(&fleet.relay("wake.pub"))?;
    let last = listed.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    match fs::rename(&next, &key) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Fault::Usage("there is no second wake key: run rotate-wake without --retire first".into()));
        }
        Err(error) => return Err(Fault::Unwritable { file: key.display().to_string(), reason: term::reason(&error) }),
    }
    files::replace(&fleet.relay("wake.pub"), last + "\n", PUBLIC)?;
    term::say(&format!(
        "Copy {} to the relays again: they can't wake devices without the second key any more.",
        fleet.root.join("relay").display()
    ));
    Ok(())
}
