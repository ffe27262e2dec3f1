//! Shows a viewer that the host is asked, and nothing else, until the host answers.

use bytes::Bytes;
use tokio::time::timeout;

use super::hub::{ApprovalWait, FAREWELL, Over, ShareHub};
use crate::session::visit::ChannelEnd;
use crate::session::{Disconnected, Ending, Inbound, Input, Outbound, OutputStream};

/// What a viewer reads meanwhile.
const WAITING: &[u8] = b"waiting for the host (q leaves)\r\n";
/// The byte of Ctrl-C.
const INTERRUPT: u8 = 3;

/// How waiting has ended.
enum Waited {
    Approved,
    Refused(&'static str),
    Quit,
    Gone,
    Over(Over),
}

/// Waits for the host's answer. Returns how the session ends, unless the viewer may join.
pub(super) async fn wait_for_host<I: Inbound, O: Outbound>(
    hub: &ShareHub,
    answer: &mut ApprovalWait,
    inbound: &mut I,
    outbound: &O,
    channel_end: &ChannelEnd,
) -> Result<(), Option<Ending>> {
    let waiting = async {
        if outbound.deliver(OutputStream::Stdout, Bytes::from_static(WAITING)).await.is_err() {
            return Waited::Gone;
        }
        read(inbound).await
    };
    let waited = tokio::select! {
        biased;
        () = channel_end.gone() => Waited::Gone,
        fault = channel_end.stopped() => Waited::Over(Over::Stopped(fault)),
        over = hub.ended() => Waited::Over(over),
        answer = answer.answer() => match answer {
            Some(true) => Waited::Approved,
            Some(false) => Waited::Refused("the host has not let you in"),
            None => Waited::Refused("the host has not answered: try again later"),
        },
        left = waiting => left,
    };
    let (line, status) = match waited {
        Waited::Approved => return Ok(()),
        Waited::Gone => return Err(None),
        Waited::Refused(why) => (format!("{why}\r\n"), 1),
        Waited::Quit => (String::new(), 0),
        Waited::Over(over) => (format!("{}\r\n", over.sentence()), over.status()),
    };
    let told = async {
        outbound.deliver(OutputStream::Stdout, Bytes::from(line)).await?;
        outbound.finish(Ending::Exited(status)).await
    };
    // A viewer that doesn't read is cut off.
    let told = timeout(FAREWELL, told).await.unwrap_or(Err(Disconnected));
    Err(told.ok().map(|()| Ending::Exited(status)))
}

/// Reads what is typed, of which only leaving counts.
async fn read<I: Inbound>(inbound: &mut I) -> Waited {
    loop {
        match inbound.next().await {
            Some(Input::Data(bytes) | Input::Typed(_, bytes)) if bytes.iter().any(|byte| [b'q', INTERRUPT].contains(byte)) => {
                return Waited::Quit;
            }
            Some(Input::Data(_) | Input::Typed(..)) => {}
            Some(Input::Eof) => std::future::pending().await,
            None => return Waited::Gone,
        }
    }
}
