//! Reads from a socket what a balancer says of a connection before its first byte: the PROXY protocol (`sally_proto::proxy_header`).

use std::io;

use sally_proto::proxy_header::{self, HeaderProgress, ProxyHeader, ProxyHeaderError};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Headless {
    /// The header is invalid.
    #[error(transparent)]
    Header(#[from] ProxyHeaderError),
    /// The connection ended before the header.
    #[error("the connection ended before its PROXY protocol header")]
    Io(#[from] io::Error),
}

/// Reads the header, and not one byte more. The caller limits the time.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, Headless> {
    let mut bytes = Vec::new();
    loop {
        let more = match proxy_header::read(&bytes)? {
            HeaderProgress::Whole(header) => return Ok(header),
            HeaderProgress::More(more) => more,
        };
        let limit = u64::try_from(more).unwrap_or(u64::MAX);
        if (&mut *stream).take(limit).read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}
