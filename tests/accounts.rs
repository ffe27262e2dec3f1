//! Who servers run as, and that nobody reads their memory.

use std::fs;

use crate::support::*;

#[test]
fn a_server_forbids_to_read_its_memory_once_more_when_it_has_changed_its_user() {
    if !as_root() {
        return skipped("a_server_forbids_to_read_its_memory", "it needs root");
    }
    let home = Home::new();
    let jail = home.jail("2022");
    let (port, calls) = (free_port(), home.path("calls"));
    // strace as a grandchild: the jail itself is ours, and dies with the test.
    let mut traced = tool("strace", "strace");
    traced.args(["-D", "-f", "-qq", "-e", "trace=setresuid,prctl", "-o"]).arg(&calls).arg(jail.get_program());
    traced.args(["jail", "--listen", &format!("127.0.0.1:{port}"), "--permit-listen", "2022"]);
    traced.env("AUTHORIZED_KEYS", home.read("id.pub")).env_remove("OPEN_PORTS");
    let mut jail = Client::start(&mut traced);
    jail.await_stderr("Server listening on ");
    jail.signal("TERM");
    jail.finish();
    let calls = until("strace has written everything", || fs::read_to_string(&calls).ok().filter(|calls| calls.contains("setresuid(")));
    let (_, after) = calls.rsplit_once("setresuid(65532, 65532, 65532)").expect(&calls);
    assert!(after.contains("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0"), "{calls}");
    assert!(after.contains("prctl(PR_GET_DUMPABLE) "), "and sees that it is so: {calls}");
}
