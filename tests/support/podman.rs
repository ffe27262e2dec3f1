//! Containers by podman, in a store of their own: nothing of the machine's is used, nothing stays.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{as_root, run, sally, skipped, text, tool};

/// The folder of what is deployed.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/docker/once");

/// The image of deploy/docker/share, under the name that deploy/k8s/share has.
pub const SHARE_IMAGE: &str = "registry.example.com/sally-share:0.1.0";

/// podman with a store in a temporary folder, and images made of what this machine has: none can be pulled.
pub struct Podman {
    dir: tempfile::TempDir,
    /// How layers lie on each other.
    driver: &'static str,
}

impl Podman {
    /// None where this machine can't run containers: said on stderr, past the test runner's capture.
    pub fn new() -> Option<Self> {
        let may = as_root() && run(tool("unshare", "util-linux").args(["--mount", "--pid", "--fork", "true"])).status.success();
        if !may {
            skipped("containers", "they need root here, and namespaces");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // Copies of everything are slow, and work everywhere.
        let driver = if overlays(dir.path()) { "overlay" } else { "vfs" };
        let podman = Self { dir, driver };
        // The limits and the manager of control groups that containers have by default need more privileges than a CI machine gives.
        let settings = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
                        [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n[network]\nnetwork_backend = \"netavark\"\n";
        fs::write(podman.path("containers.conf"), settings).unwrap();
        fs::create_dir(podman.path("networks")).unwrap();
        Some(podman)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.words().into_iter();
        let mut command = tool(&words.next().unwrap(), "podman");
        command.env("CONTAINERS_CONF", self.path("containers.conf")).args(words).args(arguments);
        command
    }

    /// Everything before podman's own arguments.
    fn words(&self) -> Vec<String> {
        let folder = |option: &str, name: &str| format!("--{option}={}", self.path(name).display());
        let folders = [folder("root", "store"), folder("runroot", "run"), folder("network-config-dir", "networks")];
        let others = ["--events-backend=none", "--log-level=error"]
            .map(String::from)
            .into_iter()
            .chain([format!("--storage-driver={}", self.driver)]);
        ["podman".to_owned()].into_iter().chain(folders).chain(others).collect()
    }

    /// deploy/compose/run, with this store.
    pub fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(format!("{DEPLOY}/../../compose/run"));
        command.env("CONTAINERS_CONF", self.path("containers.conf")).env("PODMAN", self.words().join(" "));
        command.env("IMAGE", "localhost/sally-fleet").args(arguments);
        command
    }

    /// Runs it; what it said on stdout.
    pub fn say(&self, arguments: &[&str]) -> String {
        let output = run(&mut self.command(arguments));
        assert!(output.status.success(), "podman {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// The two images of deploy/docker/once: one with the binary alone, and `visited`, an image with busybox and the libraries that a
    /// binary under test needs, into which the binary is copied from the first.
    pub fn build(&self) {
        let root = self.path("root");
        copy(Path::new("/bin/busybox"), &root.join("bin/busybox"));
        for applet in text(&run(tool("/bin/busybox", "busybox-static").arg("--list")).stdout).lines().filter(|name| *name != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let context = self.path("context");
        copy(sally(), &context.join("sally"));
        assert!(run(tool("strip", "binutils").arg(context.join("sally"))).status.success());
        // Nothing for a static binary.
        for library in text(&run(Command::new("ldd").arg(sally())).stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library), &root.join(&library[1..]));
        }
        let archive = self.path("root.tar");
        assert!(run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".")).status.success());
        self.say(&["import", "--quiet", archive.to_str().unwrap(), "localhost/base"]);
        let build = |name: &str, file: &str, more: &[&str]| {
            let file = format!("{DEPLOY}/{file}");
            let context = context.to_str().unwrap();
            self.say(&[&["build", "--quiet", "--isolation=chroot", "-t", name, "-f", &file], more, &[context]].concat());
        };
        build("localhost/sally", "Dockerfile", &[]);
        build("localhost/visited", "into.Dockerfile", &["--build-arg=SALLY=localhost/sally", "--build-arg=BASE=localhost/base"]);
    }
}

impl Podman {
    /// The image of deploy/docker/jail: FROM scratch, or from the libraries that a binary under test needs. After [`Podman::build`].
    pub fn build_jail(&self) {
        let file = format!("{DEPLOY}/../jail/Dockerfile");
        let context = self.path("context");
        self.say(&[
            "build",
            "--quiet",
            "--isolation=chroot",
            "-t",
            "localhost/jail",
            "-f",
            &file,
            "--build-arg=BASE=localhost/base",
            context.to_str().unwrap(),
        ]);
    }
}

impl Podman {
    /// The image of deploy/docker/agent, from a Debian that tests/run has made: a device without an sshd.
    pub fn build_agent(&self) {
        self.import_debian();
        let context = self.path("agent");
        copy(sally(), &context.join("sally"));
        let (file, context) = (format!("{DEPLOY}/../agent/Dockerfile"), context.display().to_string());
        let how = ["--quiet", "--isolation=chroot", "--layers=false", "--build-arg=BASE=localhost/debian"];
        self.slowly(&[&["build", "-t", "localhost/agent", "-f", &file], &how[..], &[&context]].concat());
    }

    fn import_debian(&self) {
        let debian = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-debian.tar");
        assert!(Path::new(debian).exists(), "{debian} is missing: tests/run makes it");
        self.slowly(&["import", "--quiet", debian, "localhost/debian"]);
    }

    /// The image of deploy/compose, from a Debian that tests/run has made.
    pub fn build_fleet(&self) {
        self.import_debian();
        self.build_from_root("compose/Dockerfile", &["compose/role"], "localhost/sally-fleet");
    }

    /// The store with the image of deploy/docker/share, from a Debian that tests/run has made. Tests that run at the same time share it.
    pub fn with_share() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Podman>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(podman) = shared.upgrade() {
            return Some(podman);
        }
        let podman = Self::new()?;
        podman.import_debian();
        podman.build_from_root("docker/share/Dockerfile", &["docker/share/share"], SHARE_IMAGE);
        let podman = Arc::new(podman);
        *shared = Arc::downgrade(&podman);
        Some(podman)
    }

    /// Builds an image on that Debian, of the stripped binary and these files of `deploy`, from a context like the repository's root.
    fn build_from_root(&self, file: &str, files: &[&str], image: &str) {
        let (deploy, context) = (format!("{DEPLOY}/../.."), self.path("root-context"));
        let binary = context.join("target/x86_64-unknown-linux-gnu/release/sally");
        copy(sally(), &binary);
        assert!(run(tool("strip", "binutils").arg(&binary)).status.success());
        for file in files {
            copy(Path::new(&format!("{deploy}/{file}")), &context.join("deploy").join(file));
        }
        let (file, context) = (format!("{deploy}/{file}"), context.display().to_string());
        let how = ["--quiet", "--isolation=chroot", "--layers=false", "--build-arg=BASE=localhost/debian"];
        self.slowly(&[&["build", "-t", image, "-f", &file], &how[..], &[&context]].concat());
    }

    /// Runs it for as long as it takes: whole systems are copied.
    fn slowly(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "podman {arguments:?}: {}", text(&output.stderr));
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "--all", "--force", "--time=0"]).output();
    }
}

/// Whether folders can be laid over each other here.
fn overlays(dir: &Path) -> bool {
    let folders = ["lower", "upper", "work", "merged"].map(|name| dir.join("overlay").join(name));
    folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    let [lower, upper, work, merged] = folders.map(|folder| folder.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    run(Command::new("unshare").args(["--mount", "mount", "-t", "overlay", "overlay", "-o", &options, &merged])).status.success()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("{} (install busybox-static: tests/run does): {error}", from.display()));
}
