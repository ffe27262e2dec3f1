//! Tests what reading the keys again does to those who are in and to those who come.

use std::path::Path;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

fn fingerprint(key: &str) -> String {
    ssh_key::PublicKey::from_openssh(key).unwrap().fingerprint(ssh_key::HashAlg::Sha256).to_string()
}

/// The sources of files with these contents.
async fn sources(folder: &Path, contents: &[&str]) -> ShareSources {
    let files: Vec<_> = (0..contents.len()).map(|number| folder.join(number.to_string())).collect();
    files.iter().zip(contents).for_each(|(file, content)| std::fs::write(file, content).unwrap());
    let sources = files.into_iter().map(KeySource::File).collect();
    ShareSources::load(sources, NetworkSettings::default(), Enforced::all(), None).await.unwrap().0
}

#[tokio::test]
async fn a_key_that_is_gone_leaves_and_a_new_one_waits_for_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(folder.path(), &[KEY]).await;
    let now = Instant::now();
    assert!(sources.reload(now, false).await.unwrap().said.is_empty());
    let file = folder.path().join("0");
    std::fs::write(&file, OTHER).unwrap();
    let reload = sources.reload(now, false).await.unwrap();
    assert_eq!(reload.keys.len(), 0);
    assert_eq!(reload.gone.source_of(&fingerprint(KEY)), file.to_str());
    assert!(!reload.allowed.may_include(&fingerprint(KEY)) && !reload.allowed.may_include(&fingerprint(OTHER)));
    assert_eq!(reload.said.len(), 2, "{:?}", reload.said);
    // What waits is said once, and a key that has come back is new too.
    assert!(sources.reload(now, false).await.unwrap().said.is_empty());
    std::fs::write(&file, KEY).unwrap();
    assert_eq!(sources.reload(now, false).await.unwrap().keys.len(), 0);
    let reload = sources.reload(now, true).await.unwrap();
    assert!(reload.allowed.may_include(&fingerprint(KEY)));
    assert_eq!((reload.keys.len(), reload.gone.source_of(&fingerprint(KEY))), (1, None));
}

#[tokio::test]
async fn a_source_that_fails_keeps_its_keys_and_after_a_while_no_viewer_joins() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(folder.path(), &[KEY, OTHER]).await;
    let (file, start) = (folder.path().join("0"), Instant::now());
    for content in ["", "# no key\n", "<!DOCTYPE html><title>500</title>"] {
        std::fs::write(&file, content).unwrap();
        for adds in [false, true] {
            let reload = sources.reload(start, adds).await.unwrap();
            assert_eq!((reload.keys.len(), reload.allowed.is_stale), (2, false), "{content:?}");
            assert_eq!(reload.gone.source_of(&fingerprint(KEY)), None, "{content:?}");
        }
    }
    assert_eq!(sources.pause(), AGAIN);
    // Another source is read all the same.
    std::fs::write(folder.path().join("1"), KEY).unwrap();
    let reload = sources.reload(start + STALE - Duration::from_secs(1), false).await.unwrap();
    assert!(reload.gone.source_of(&fingerprint(OTHER)).is_some() && !reload.allowed.is_stale);
    let reload = sources.reload(start + STALE, false).await.unwrap();
    assert!(reload.allowed.is_stale && reload.gone.source_of(&fingerprint(KEY)).is_none());
    assert_eq!(reload.said, ["No viewer can join: keys could not be read for 15 minutes"]);
    std::fs::write(&file, KEY).unwrap();
    let reload = sources.reload(start + STALE, false).await.unwrap();
    assert!(!reload.allowed.is_stale && reload.allowed.may_include(&fingerprint(KEY)));
    assert_eq!((reload.said, sources.pause()), (vec!["Viewers can join again".to_owned()], INTERVAL));
}

#[tokio::test]
async fn a_key_leaves_that_is_gone_from_one_of_two_sources_and_may_come_again_by_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(folder.path(), &[KEY, &format!("{KEY}\n{OTHER}")]).await;
    std::fs::write(folder.path().join("1"), OTHER).unwrap();
    let reload = sources.reload(Instant::now(), false).await.unwrap();
    assert!(reload.gone.source_of(&fingerprint(KEY)).is_some() && reload.allowed.may_include(&fingerprint(KEY)));
    assert_eq!(reload.gone.source_of(&fingerprint(OTHER)), None);
}

#[tokio::test]
async fn a_line_whose_options_have_changed_is_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(folder.path(), &[&format!("from=\"192.0.2.1\" {KEY}\n{OTHER}")]).await;
    std::fs::write(folder.path().join("0"), format!("{KEY} a comment\n{OTHER} another")).unwrap();
    let reload = sources.reload(Instant::now(), false).await.unwrap();
    assert!(reload.gone.source_of(&fingerprint(KEY)).is_some() && !reload.allowed.may_include(&fingerprint(KEY)));
    assert!(reload.gone.source_of(&fingerprint(OTHER)).is_none() && reload.allowed.may_include(&fingerprint(OTHER)));
}

#[tokio::test]
async fn without_their_authority_those_leave_who_have_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(folder.path(), &[&format!("cert-authority {KEY}\n{OTHER}")]).await;
    let reload = sources.reload(Instant::now(), false).await.unwrap();
    assert!(reload.allowed.may_include("SHA256:certified") && reload.gone.source_of("SHA256:certified").is_none());
    std::fs::write(folder.path().join("0"), OTHER).unwrap();
    let reload = sources.reload(Instant::now(), false).await.unwrap();
    assert!(!reload.allowed.may_include("SHA256:certified") && reload.gone.source_of("SHA256:certified").is_some());
    assert_eq!(reload.gone.source_of(&fingerprint(OTHER)), None);
}

#[tokio::test]
async fn a_key_that_is_revoked_leaves_and_a_list_that_fails_revokes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (file, list) = (folder.path().join("keys"), folder.path().join("revoked"));
    std::fs::write(&file, format!("{KEY}\n{OTHER}")).unwrap();
    std::fs::write(&list, "").unwrap();
    let loaded = ShareSources::load(vec![KeySource::File(file)], NetworkSettings::default(), Enforced::all(), Some(list.clone())).await;
    let mut sources = loaded.unwrap().0;
    std::fs::write(&list, KEY).unwrap();
    for _ in 0..2 {
        let reload = sources.reload(Instant::now(), false).await.unwrap();
        assert!(!reload.allowed.may_include(&fingerprint(KEY)) && reload.allowed.may_include(&fingerprint(OTHER)));
        std::fs::write(&list, "no key").unwrap();
    }
    assert_eq!(sources.pause(), AGAIN);
}
