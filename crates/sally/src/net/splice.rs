//! Joins two connections: carries bytes both ways, until both ways have ended.
//!
//! Each way is independent: a slow reader delays only its own writer, and closing one half closes the same half at the other end while
//! bytes go on the other way. Pieces are passed on as they come, without a copy.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use sally_proto::record::{DigestName, RunningDigest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::activity::Activity;

/// How many bytes are read from a socket at once: two packets of OpenSSH's largest size.
const PIECE: usize = 64 << 10;
/// A piece smaller than this, in bytes, is copied, so that its buffer is reused.
const SMALL: usize = 4 << 10;

/// The result of reading from a source.
#[derive(Debug)]
pub enum SourceRead {
    /// At least one byte.
    Data(Bytes),
    /// No more bytes will come; the other end still reads.
    End,
    /// Nothing comes, and nothing can be delivered any more.
    Over(ConnectionOver),
}

/// Why a connection is over in both directions at once.
#[derive(Debug)]
pub enum ConnectionOver {
    /// The other end closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
}

impl fmt::Display for ConnectionOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Broken(error) => f.write_str(&crate::term::reason(error)),
        }
    }
}

/// Bytes are no longer taken here; the other direction may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkClosed;

/// The half of a connection that bytes come from.
pub trait ByteSource: Send {
    /// Returns the next piece. Cancel-safe. Must not be called again after [`SourceRead::End`].
    fn next(&mut self) -> impl Future<Output = SourceRead> + Send;
    /// Waits after [`SourceRead::End`] until the connection is over in the other direction too; forever if that can't be seen.
    fn over(&mut self) -> impl Future<Output = ConnectionOver> + Send;
}

/// The half of a connection that bytes go to.
pub trait ByteSink: Send {
    /// Delivers a piece; waits while the other end takes none, which slows the source.
    fn deliver(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), SinkClosed>> + Send;
    /// Tells the other end that no more bytes will come.
    fn end(&mut self) -> impl Future<Output = Result<(), SinkClosed>> + Send;
}

/// Counts one direction, and hashes it if asked to, before delivery.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: Arc<AtomicU64>,
    hash: Option<RunningDigest>,
    activity: Option<Activity>,
}

impl Meter {
    /// Makes a meter that counts and hashes.
    pub fn hashing(digest: DigestName) -> Self {
        Self { hash: Some(digest.start()), ..Self::default() }
    }

    /// Makes the meter note each piece as activity.
    pub fn watched(self, activity: Activity) -> Self {
        Self { activity: Some(activity), ..self }
    }

    /// Makes a meter whose count others can read meanwhile.
    pub fn shared(bytes: &Arc<AtomicU64>) -> Self {
        Self { bytes: Arc::clone(bytes), ..Self::default() }
    }

    fn take(&mut self, piece: &[u8]) {
        self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        }
        if let Some(activity) = &self.activity {
            activity.touch();
        }
    }

    /// Returns the bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the digest of the bytes so far, if they are hashed, as the fields of an audit event: SHA-256 and BLAKE3, of which one is
    /// set.
    pub fn digest(&self) -> (Option<String>, Option<String>) {
        self.hash.as_ref().map_or((None, None), RunningDigest::fields)
    }
}

/// Joins two connections, each a source and a sink. Returns when both directions have ended by their sources' ends. `there` meters the
/// bytes from `left` to `right`, `back` the other way; both hold what was moved however this ends, even if it is dropped.
///
/// # Errors
/// Why one of the connections was over before that.
pub async fn splice(
    left: (impl ByteSource, impl ByteSink),
    right: (impl ByteSource, impl ByteSink),
    there: &mut Meter,
    back: &mut Meter,
) -> Result<(), ConnectionOver> {
    let going = carry(left.0, right.1, there);
    let coming = carry(right.0, left.1, back);
    tokio::pin!(going, coming);
    tokio::select! {
        went = &mut going => {
            let mut ended = went?;
            tokio::select! {
                came = coming => came.map(drop),
                over = ended.over() => Err(over),
            }
        }
        came = &mut coming => {
            let mut ended = came?;
            tokio::select! {
                went = going => went.map(drop),
                over = ended.over() => Err(over),
            }
        }
    }
}

/// Carries one direction to its end; returns its source.
async fn carry<S: ByteSource>(mut source: S, mut sink: impl ByteSink, meter: &mut Meter) -> Result<S, ConnectionOver> {
    let mut deaf = false;
    loop {
        match source.next().await {
            SourceRead::Data(bytes) => {
                meter.take(&bytes);
                // Bytes that the sink doesn't take are dropped, so that the source's end is still seen.
                deaf = deaf || sink.deliver(bytes).await.is_err();
            }
            SourceRead::End => {
                if !deaf {
                    // A sink that has left needs no end.
                    let _ = sink.end().await;
                }
                return Ok(source);
            }
            SourceRead::Over(over) => return Err(over),
        }
    }
}

/// The reading half of a socket.
#[derive(Debug)]
pub struct SocketSource<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R> SocketSource<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new() }
    }
}

impl<R: AsyncRead + Unpin + Send> ByteSource for SocketSource<R> {
    async fn next(&mut self) -> SourceRead {
        // The space of delivered pieces is reused; nothing is allocated otherwise.
        if self.buffer.capacity() < PIECE / 2 {
            self.buffer.reserve(PIECE);
        }
        match self.reader.read_buf(&mut self.buffer).await {
            Ok(0) => SourceRead::End,
            Ok(read) if read < SMALL => {
                let piece = Bytes::copy_from_slice(&self.buffer);
                self.buffer.clear();
                SourceRead::Data(piece)
            }
            Ok(_) => SourceRead::Data(self.buffer.split().freeze()),
            Err(error) => SourceRead::Over(ConnectionOver::Broken(error)),
        }
    }

    async fn over(&mut self) -> ConnectionOver {
        // If a socket breaks after its end, a write to it fails.
        let never: Infallible = std::future::pending().await;
        match never {}
    }
}

/// The writing half of a socket.
#[derive(Debug)]
pub struct SocketSink<W>(
    /// The writing half itself.
    pub W,
);

impl<W: AsyncWrite + Unpin + Send> ByteSink for SocketSink<W> {
    async fn deliver(&mut self, bytes: Bytes) -> Result<(), SinkClosed> {
        self.0.write_all(&bytes).await.map_err(|_| SinkClosed)
    }

    async fn end(&mut self) -> Result<(), SinkClosed> {
        self.0.shutdown().await.map_err(|_| SinkClosed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    type Spliced = JoinHandle<(Result<(), ConnectionOver>, Meter, Meter)>;

    fn half(stream: DuplexStream) -> (impl ByteSource, impl ByteSink) {
        let (reader, writer) = tokio::io::split(stream);
        (SocketSource::new(reader), SocketSink(writer))
    }

    /// Joins two ends, through pipes of this size.
    fn joined(size: usize) -> (DuplexStream, DuplexStream, Spliced) {
        let ((ours, left), (right, theirs)) = (duplex(size), duplex(size));
        let spliced = tokio::spawn(async move {
            let (mut there, mut back) = (Meter::hashing(DigestName::Blake3), Meter::default());
            let ended = splice(half(left), half(right), &mut there, &mut back).await;
            (ended, there, back)
        });
        (ours, theirs, spliced)
    }

    #[tokio::test]
    async fn a_half_that_is_closed_leaves_the_other_open() {
        let (mut ours, mut theirs, spliced) = joined(64);
        ours.write_all(b"question").await.unwrap();
        ours.shutdown().await.unwrap();
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "question");
        // Only now, after the request's end, the answer begins, which is longer than what the pipes hold.
        let answer = vec![7; 100_000];
        let writing = tokio::spawn({
            let answer = answer.clone();
            async move {
                theirs.write_all(&answer).await.unwrap();
                theirs.shutdown().await.unwrap();
            }
        });
        let mut got = Vec::new();
        ours.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(got == answer);
        let (ended, there, back) = spliced.await.unwrap();
        ended.unwrap();
        assert_eq!((there.bytes(), back.bytes()), (8, 100_000));
        assert_eq!(there.digest(), (None, Some(blake3::hash(b"question").to_string())));
        assert_eq!(back.digest(), (None, None));
    }

    #[tokio::test]
    async fn a_reader_that_stops_stops_its_own_writer_alone() {
        let (ours, mut theirs, _spliced) = joined(64);
        let (mut reader, mut writer) = tokio::io::split(ours);
        // The writes are not read, and fill the pipes in between.
        let stuck = tokio::time::timeout(std::time::Duration::from_millis(50), theirs.write_all(&[0; 1 << 20])).await;
        assert!(stuck.is_err());
        let (mut their_reader, _their_writer) = tokio::io::split(theirs);
        let mut heard = vec![0; 10_000];
        let (written, read) = tokio::join!(writer.write_all(&[1; 10_000]), their_reader.read_exact(&mut heard));
        written.unwrap();
        read.unwrap();
        reader.read_exact(&mut [0; 64]).await.unwrap();
    }

    /// A connection that closes in both directions while the other way is idle.
    struct Vanishing(Option<SourceRead>);

    impl ByteSource for Vanishing {
        async fn next(&mut self) -> SourceRead {
            self.0.take().unwrap_or(SourceRead::End)
        }

        async fn over(&mut self) -> ConnectionOver {
            ConnectionOver::Closed
        }
    }

    #[tokio::test]
    async fn a_connection_that_closes_as_a_whole_ends_both_ways() {
        for said in [None, Some(SourceRead::Over(ConnectionOver::Closed)), Some(SourceRead::Data(Bytes::from_static(b"x")))] {
            let (_theirs, right) = duplex(64);
            let (_unread, left_sink) = duplex(64);
            let (mut there, mut back) = (Meter::default(), Meter::default());
            let ended = splice((Vanishing(said), SocketSink(left_sink)), half(right), &mut there, &mut back).await;
            assert!(matches!(ended, Err(ConnectionOver::Closed)));
        }
    }

    #[tokio::test]
    async fn what_nobody_takes_is_dropped_and_the_end_is_still_seen() {
        let (mut ours, left) = duplex(64);
        let (right_reader, mut theirs) = duplex(64);
        let (gone, right_writer) = duplex(64);
        drop(gone);
        let spliced = tokio::spawn(async move {
            let right = (SocketSource::new(right_reader), SocketSink(right_writer));
            splice(half(left), right, &mut Meter::default(), &mut Meter::default()).await
        });
        ours.write_all(&[0; 10_000]).await.unwrap();
        theirs.write_all(b"still here").await.unwrap();
        let mut heard = [0; 10];
        ours.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still here");
        drop((ours, theirs));
        spliced.await.unwrap().unwrap();
    }
}
