//! The channel between `sally once` and the agent that started it: the agent sends the host key, and creates the records.
//!
//! A session's account can't read it: the sockets have no name, and neither process's descriptors can be reached through /proc.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use sally_proto::monitor::{MESSAGE_MAX, MonitorAnswer, MonitorRequest};
use tokio::io::unix::AsyncFd;

use crate::lock::lock;
use crate::term;

/// The time for an agent's answer: the agent looks through a folder, and creates a file in it.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Creates a pair of sockets: the agent's end, and the one that `once` is started with. Must be called within the runtime.
///
/// # Errors
/// The system's error, such as that no descriptor is left.
pub fn pair() -> io::Result<(MonitorSocket, OwnedFd)> {
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&near, true)?;
    #[expect(deprecated, reason = "its fault is with types that don't own what they show; an OwnedFd does, and its successor is unsafe")]
    let near = AsyncFd::new(near)?;
    Ok((MonitorSocket(near), far))
}

/// The agent's end.
#[derive(Debug)]
pub struct MonitorSocket(AsyncFd<OwnedFd>);

impl MonitorSocket {
    /// Returns the next request; `None` if the other end is closed, or has sent an invalid message. Cancel-safe.
    ///
    /// # Errors
    /// The error of recv(2).
    pub async fn request(&self) -> io::Result<Option<MonitorRequest>> {
        loop {
            let mut ready = self.0.readable().await?;
            // The buffer is one byte longer than a request, so that a longer message is invalid.
            let mut message = [0; 2];
            let received = ready.try_io(|socket| Ok(recv(socket.get_ref(), &mut message[..], RecvFlags::empty())?.0));
            if let Ok(received) = received {
                return Ok(MonitorRequest::decode(message.get(..received?).unwrap_or_default()));
            }
        }
    }

    /// Sends a message without a request: the host key, at the beginning.
    ///
    /// # Errors
    /// The error of send(2).
    pub fn say(&self, message: &[u8]) -> io::Result<()> {
        send(self.0.get_ref(), message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Answers a request, with the record's descriptor if it asked for one. A client has at most one open request, so the socket has room.
    ///
    /// # Errors
    /// The error of sendmsg(2).
    pub fn answer(&self, answer: &MonitorAnswer, record: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let message = answer.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let record: Vec<_> = record.into_iter().collect();
        if !record.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&record)) {
            return Err(Errno::NOBUFS.into());
        }
        let message = message.get(..message.len().min(MESSAGE_MAX)).unwrap_or_default();
        sendmsg(self.0.get_ref(), &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// The end in `once`. Each call waits for its answer.
#[derive(Debug)]
pub struct MonitorClient(Mutex<OwnedFd>);

impl MonitorClient {
    /// Takes the socket that this process was started with.
    ///
    /// # Errors
    /// An error if the number is no such socket.
    pub fn take(number: i32) -> io::Result<Self> {
        let socket = sally_sys::file::inherited(number)?;
        if socket_type(&socket)? != SocketType::SEQPACKET {
            return Err(Errno::PROTOTYPE.into());
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_LIMIT))?;
        Ok(Self(Mutex::new(socket)))
    }

    /// Returns the host key in its file's format. Must be called first, and once.
    ///
    /// # Errors
    /// The error of recv(2).
    pub fn host_key(&self) -> io::Result<Vec<u8>> {
        let mut key = vec![0; MESSAGE_MAX];
        let socket = lock(&self.0);
        let (length, _) = recv(socket.as_fd(), &mut key[..], RecvFlags::empty())?;
        key.truncate(length);
        Ok(key)
    }

    /// Requests a record, once a client has authenticated. Returns its file, and the size in bytes that it may reach.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn record(&self) -> Result<(OwnedFd, u64), String> {
        match self.ask(MonitorRequest::Record)? {
            (limit, Some(record)) => Ok((record, limit)),
            (_, None) => Err("the agent has sent none".into()),
        }
    }

    /// Requests more room for the record. Returns the size in bytes that it may now reach in all.
    ///
    /// # Errors
    /// The reason why it may not grow.
    pub fn growth(&self) -> Result<u64, String> {
        Ok(self.ask(MonitorRequest::Growth)?.0)
    }

    fn ask(&self, request: MonitorRequest) -> Result<(u64, Option<OwnedFd>), String> {
        let failed = |error: Errno| format!("the agent doesn't answer: {}", term::reason(&error.into()));
        let socket = lock(&self.0);
        send(&*socket, &request.encode(), SendFlags::NOSIGNAL).map_err(failed)?;
        let mut message = vec![0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&*socket, &mut [IoSliceMut::new(&mut message)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).map_err(failed)?;
        let record = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        match MonitorAnswer::decode(message.get(..received.bytes).unwrap_or_default()) {
            Some(MonitorAnswer::Limit(limit)) => Ok((limit, record)),
            Some(MonitorAnswer::Refused(why)) => Err(why),
            None => Err("the agent is gone".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd as _;

    use super::*;

    async fn ends() -> (MonitorSocket, MonitorClient) {
        let (near, far) = pair().unwrap();
        (near, MonitorClient::take(far.into_raw_fd()).unwrap())
    }

    #[tokio::test]
    async fn a_key_and_a_record_come_through() {
        let (agent, once) = ends().await;
        agent.say(b"a key").unwrap();
        assert_eq!(once.host_key().unwrap(), b"a key");
        let asking = tokio::task::spawn_blocking(move || (once.record(), once.growth(), once.growth()));
        assert_eq!(agent.request().await.unwrap(), Some(MonitorRequest::Record));
        let record = tempfile::tempfile().unwrap();
        agent.answer(&MonitorAnswer::Limit(100), Some(record.as_fd())).unwrap();
        assert_eq!(agent.request().await.unwrap(), Some(MonitorRequest::Growth));
        agent.answer(&MonitorAnswer::Limit(200), None).unwrap();
        assert_eq!(agent.request().await.unwrap(), Some(MonitorRequest::Growth));
        agent.answer(&MonitorAnswer::Refused("no room".into()), None).unwrap();
        let (first, second, third) = asking.await.unwrap();
        let (theirs, limit) = first.unwrap();
        assert_eq!(rustix::fs::fstat(theirs).unwrap().st_ino, rustix::fs::fstat(&record).unwrap().st_ino);
        assert_eq!((limit, second, third), (100, Ok(200), Err("no room".into())));
        assert_eq!(agent.request().await.unwrap(), None, "its end is dropped with it");
    }

    #[tokio::test]
    async fn an_agent_that_is_gone_is_no_yes() {
        let (agent, once) = ends().await;
        drop(agent);
        assert!(once.record().is_err() && once.growth().is_err());
        assert!(MonitorClient::take(-1).is_err());
    }
}
