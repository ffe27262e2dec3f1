//! Defines the messages between `sally once` and the agent that started it, over a pair of sockets that keeps messages apart.
//!
//! The agent has the keys and makes the records; `once` runs as an account without rights (OpenSSH calls the privileged side the
//! monitor). The agent speaks first and sends the host key, as a file has it. Afterwards it answers. Both are one executable, so there is
//! no version to agree on.

/// The longest message: a host key. One of 16,384 bits of RSA has 13 KB.
pub const MESSAGE_MAX: usize = 32 << 10;

/// A request from `once`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorRequest {
    /// A client has authenticated: asks for a record. Its descriptor comes with the answer.
    Record,
    /// Asks for a larger record.
    Growth,
}

impl MonitorRequest {
    /// Encodes the message.
    pub const fn encode(self) -> [u8; 1] {
        match self {
            Self::Record => *b"r",
            Self::Growth => *b"g",
        }
    }

    /// Reads a message; `None` if it is malformed.
    pub const fn decode(message: &[u8]) -> Option<Self> {
        match message {
            b"r" => Some(Self::Record),
            b"g" => Some(Self::Growth),
            _ => None,
        }
    }
}

/// An answer from the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorAnswer {
    /// The record may have so many bytes in all.
    Limit(u64),
    /// The request is refused; holds the reason.
    Refused(String),
}

impl MonitorAnswer {
    /// Encodes the message.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Limit(limit) => [&b"+"[..], &limit.to_be_bytes()].concat(),
            Self::Refused(reason) => [b"-", reason.as_bytes()].concat(),
        }
    }

    /// Reads a message; `None` if it is malformed.
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
