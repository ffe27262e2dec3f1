//! Makes the lines that say how to join a share.

use sally_proto::share::{JoinLink, ShareRole};
use ssh_key::HashAlg;

use crate::config::Share;
use crate::host_key::HostKey;
use crate::share::service::role_of_link;
use crate::ssh::listen::Arrivals;

/// One link to a share.
struct ShareLink {
    /// The most that a viewer may do who comes by it.
    role: ShareRole,
    /// What ssh is told.
    ssh: String,
    /// What `sally join` is told.
    join: String,
}

/// Returns the lines that say how to join: the host key, then the links, then the links with the host key pinned; of each, first those by
/// which viewers only watch.
pub(super) fn links(all_arrivals: &[Arrivals], config: &Share, host_key: &HostKey) -> Vec<String> {
    let public = host_key.public_line();
    let pinned = format!("-o 'KnownHostsCommand=/bin/echo %H {public}' -o StrictHostKeyChecking=yes -o UserKnownHostsFile=/dev/null");
    let links = share_links(all_arrivals, config, host_key);
    let read_only = |role| if role < ShareRole::Write { " read only" } else { "" };
    let plain = links.iter().map(|ShareLink { role, ssh, .. }| format!("ssh session{}: ssh {ssh}", read_only(*role)));
    let of_sally = links.iter().map(|ShareLink { role, join, .. }| format!("sally{}: sally join {join}", read_only(*role)));
    let pinned =
        links.iter().map(|ShareLink { role, ssh, .. }| format!("ssh session{}, host key pinned: ssh {pinned} {ssh}", read_only(*role)));
    std::iter::once(format!("host key: {public}")).chain(plain).chain(of_sally).chain(pinned).collect()
}

/// Returns the links to a share, first those by which viewers only watch.
fn share_links(all_arrivals: &[Arrivals], config: &Share, host_key: &HostKey) -> Vec<ShareLink> {
    let print = host_key.private().fingerprint(HashAlg::Sha256);
    let destination = config.host.clone().unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let host = destination.rsplit('@').next().unwrap_or_default();
    let of_share = if config.read_only { ShareRole::Watch } else { ShareRole::Write };
    let ports = all_arrivals.iter().filter_map(Arrivals::port).map(|port| ShareLink {
        role: of_share,
        ssh: if port == 22 { destination.clone() } else { format!("{destination} -p {port}") },
        join: format!("{host}:{port}#{print}"),
    });
    let names = all_arrivals.iter().flat_map(Arrivals::names).zip(config.relay.iter().cycle()).map(|(name, dial)| ShareLink {
        role: role_of_link(Some(name)),
        ssh: format!("-J {} {}", dial.relay, name.as_str()),
        join: JoinLink { name: Some(name.clone()), address: dial.relay.clone(), host_key: print }.to_string(),
    });
    let mut links: Vec<_> = ports.chain(names).collect();
    links.sort_by_key(|link| link.role);
    links
}
