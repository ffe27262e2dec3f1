//! The fleet of deploy/compose: a relay, two devices that nothing can connect to, and an admin who knows their names.

use std::fs;

use crate::support::*;

/// It runs; when this is dropped it is gone, keys included.
struct Fleet(Podman);

impl Fleet {
    fn up() -> Option<Self> {
        let fleet = Self(Podman::new()?);
        fleet.0.build_fleet();
        fleet.run(&["up"]);
        Some(fleet)
    }

    fn run(&self, words: &[&str]) -> String {
        // For as long as it takes: whole systems are copied.
        let output = self.0.compose(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A command in the admin's container.
    fn admin(&self, script: &str) -> String {
        self.run(&["admin", "sh", "-euc", script])
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.0.compose(&["down"]).output();
    }
}

#[test]
fn an_admin_reaches_devices_that_publish_no_port() {
    let Some(fleet) = Fleet::up() else { return };
    let podman = &fleet.0;
    for device in ["cam-1", "cam-2"] {
        assert_eq!(fleet.admin(&format!("ssh {device} hostname")), format!("{device}\n"));
        // Who visits isn't who has the keys, and can't be.
        let keys = "id -un; cat /etc/sally/device_key /etc/sally/tls.key /etc/sally/ssh_host_key 2>/dev/null || true";
        assert_eq!(
            fleet.admin(&format!("ssh {device} '{keys}'; ssh root@{device} true 2>/dev/null || echo no root")),
            "visitor\nno root\n"
        );
        let there_and_back =
            format!("echo from $HOME >/tmp/here; scp -q /tmp/here {device}:/tmp/there; scp -q {device}:/tmp/there /tmp/back");
        assert_eq!(fleet.admin(&format!("{there_and_back}; ssh -n {device} cat /tmp/there; cat /tmp/back")), "from /root\nfrom /root\n");
    }

    // Nothing of a device can be connected to: no port is published, and nobody is listening but on its own loopback.
    assert_eq!(podman.say(&["port", "--all"]), "");
    let address = podman.say(&["inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "sally-cam-1"]);
    let connect = format!("exec 3<>/dev/tcp/{address}/22");
    let refused = run(&mut podman.command(&["exec", "sally-relay", "bash", "-c", &connect]));
    assert!(text(&refused.stderr).contains("Connection refused"), "{}", text(&refused.stderr));

    // No key is in the image.
    let search = "! grep -rlI -e '-----BEGIN .*PRIVATE KEY' /etc /home /opt /root /srv /usr/local /var";
    podman.say(&["run", "--rm", "--network=none", "--entrypoint=sh", "localhost/sally-fleet", "-c", search]);

    podman.say(&["stop", "--time=30", "sally-cam-2"]);
    let refused = run(&mut podman.command(&["exec", "sally-admin", "ssh", "-n", "cam-2", "true"]));
    let said = text(&refused.stderr);
    assert!(said.contains("open failed: connect failed: cam-2 is offline: last seen 20"), "{said}");

    fleet.run(&["operator", "revoke", "cam-1"]);
    let refused = run(&mut podman.command(&["exec", "sally-admin", "ssh", "-n", "cam-1", "true"]));
    let said = text(&refused.stderr);
    assert!(said.contains("cam-1 is not a known device"), "{said}");
}

#[test]
fn the_compose_file_publishes_nothing() {
    let file = include_str!("../../deploy/compose/compose.yaml");
    assert!(!file.contains("ports:"), "{file}");
}

#[test]
fn a_visitor_of_a_device_in_a_container_has_none_of_its_keys() {
    let Some(podman) = Podman::new() else { return };
    podman.build_agent();
    let live = Live::new();
    let bundle = live.fleet.add("cam-17");
    let settings = bundle.join("agent.toml");
    fs::write(&settings, fs::read_to_string(&settings).unwrap() + "serve = \"session\"\n").unwrap();
    let volume = format!("--volume={}:/etc/sally", bundle.display());
    let mut agent = Client::start(&mut podman.command(&["run", "--rm", "--network=host", &volume, "localhost/agent", "-v"]));
    agent.await_stderr("connected to the broker");
    let keys = "id -u; ls /etc/sally | wc -l; cat /etc/sally/device_key /etc/sally/tls.key /etc/sally/ssh_host_key /etc/sally/records/* 2>/dev/null";
    let visit = run(live.jump("cam-17").arg(keys));
    let said = text(&visit.stdout);
    assert!(said.starts_with("65533\n") && said.lines().count() == 2, "{said}{}", text(&visit.stderr));
}
