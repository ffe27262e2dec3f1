//! What `sally once` and the agent that has started it say to each other, over a pair of sockets that keeps messages apart.
//!
//! The agent has the keys and makes the records; `once` has an account without rights (OpenSSH calls the one that is asked the monitor). The
//! agent speaks first: the host key, as a file has it. Afterwards it answers. Both are one executable: there is no version to agree on.

/// The longest message: a host key. One of 16,384 bits of RSA has 13 KB.
pub const MESSAGE_MAX: usize = 32 << 10;

/// What `once` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorRequest {
    /// Somebody has authenticated: a record. Its descriptor comes with the answer.
    Record,
    /// The record may become larger.
    Growth,
}

impl MonitorRequest {
    /// The message.
    pub const fn encode(self) -> [u8; 1] {
        match self {
            Self::Record => *b"r",
            Self::Growth => *b"g",
        }
    }

    /// Reads a message; nothing where it is none of these.
    pub const fn decode(message: &[u8]) -> Option<Self> {
        match message {
            b"r" => Some(Self::Record),
            b"g" => Some(Self::Growth),
            _ => None,
        }
    }
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorAnswer {
    /// The record may have so many bytes in all.
    Limit(u64),
    /// Why not.
    Refused(String),
}

impl MonitorAnswer {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Limit(limit) => [&b"+"[..], &limit.to_be_bytes()].concat(),
            Self::Refused(reason) => [b"-", reason.as_bytes()].concat(),
        }
    }

    /// Reads a message; nothing where it is none of these.
    pub fn decode(message: &[u8]) -> Option<Self> {
        match message.split_first()? {
            (b'+', limit) => Some(Self::Limit(u64::from_be_bytes(limit.try_into().ok()?))),
            (b'-', reason) => Some(Self::Refused(String::from_utf8_lossy(reason).into_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_meant() {
        for request in [MonitorRequest::Record, MonitorRequest::Growth] {
            assert_eq!(MonitorRequest::decode(&request.encode()), Some(request));
        }
        for answer in [MonitorAnswer::Limit(1 << 40), MonitorAnswer::Refused("no room".into()), MonitorAnswer::Refused(String::new())] {
            assert_eq!(MonitorAnswer::decode(&answer.encode()), Some(answer));
        }
        assert!([&b""[..], b"x", b"rr"].into_iter().all(|message| MonitorRequest::decode(message).is_none()));
        assert!([&b""[..], b"+", b"+1234567", b"+123456789", b"r"].into_iter().all(|message| MonitorAnswer::decode(message).is_none()));
    }
}
