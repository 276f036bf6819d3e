//! A client's stream that is watched: what comes must be a request, in time, and what goes must be taken, in time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

use super::{connections::Activity, framing::Framing};
use crate::ApiError;

/// What a client goes on sending after our last word is thrown away for so long: an answer that meets unread bytes is
/// lost on its way.
const LINGER: Duration = Duration::from_secs(1);

/// The stream as hyper has it.
#[derive(Debug)]
pub struct Guarded {
    stream: TcpStream,
    framing: Framing,
    activity: Arc<Activity>,
    receive_timeout: Duration,
    send_timeout: Duration,
    /// Until the request that has begun must be complete, or the first one.
    receiving: Option<Pin<Box<Sleep>>>,
    /// Until what is to be sent must be taken.
    sending: Option<Pin<Box<Sleep>>>,
    /// Bytes went out that may be part of an answer.
    is_unflushed: bool,
    refusal: Option<ApiError>,
    /// The client does not read: there is no use in telling it more.
    is_deaf: bool,
}

impl Guarded {
    /// Watches a stream.
    pub fn new(stream: TcpStream, activity: Arc<Activity>, receive_timeout: Duration, send_timeout: Duration) -> Self {
        Self {
            stream,
            framing: Framing::default(),
            activity,
            receive_timeout,
            send_timeout,
            receiving: Some(Box::pin(sleep(receive_timeout))),
            sending: None,
            is_unflushed: false,
            refusal: None,
            is_deaf: false,
        }
    }

    /// What is to be said before the end, if nobody else says it: only of a request that reached no handler, and only
    /// when all that came before it are answered.
    pub fn take_refusal(&mut self) -> Option<ApiError> {
        let reached_nobody = self.activity.settled().is_some_and(|asked| asked <= self.framing.complete());
        self.refusal.take().filter(|_| reached_nobody && !self.is_unflushed)
    }

    /// Says the last word, and ends the connection so that it arrives.
    pub async fn close(mut self, last_word: &[u8]) {
        if self.is_deaf {
            // What it did not take is dropped, too: otherwise the kernel keeps it for minutes.
            let _ = self.stream.set_zero_linger();
            return;
        }
        let _ = timeout(LINGER, async {
            self.stream.write_all(last_word).await?;
            self.stream.shutdown().await?;
            let mut nowhere = [0; 4096];
            while self.stream.read(&mut nowhere).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
    }

    fn refuse(&mut self, refusal: ApiError, kind: io::ErrorKind) -> io::Error {
        self.refusal.get_or_insert(refusal);
        kind.into()
    }

    fn took(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = self.framing.complete();
        self.framing.take(bytes).map_err(|refusal| self.refuse(refusal, io::ErrorKind::InvalidData))?;
        let complete = self.framing.complete();
        self.activity.received(complete);
        if complete > before {
            self.receiving = None;
        }
        if !self.framing.is_between() && self.receiving.is_none() {
            self.receiving = Some(Box::pin(sleep(self.receive_timeout)));
        }
        Ok(())
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.receiving.as_mut().is_some_and(|limit| limit.as_mut().poll(cx).is_ready())
    }

    fn waits_to_send<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.send_timeout;
        ready!(self.sending.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        self.is_deaf = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_some() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.is_late(cx) {
            let late = io::ErrorKind::TimedOut;
            // Whoever asked for nothing is told nothing.
            let is_silent = self.framing.is_between();
            return Poll::Ready(Err(if is_silent { late.into() } else { self.refuse(ApiError::TooSlow, late) }));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let outcome = self.took(&buffer.filled()[before..]);
                if outcome.is_err() {
                    // hyper gets nothing of it.
                    buffer.set_filled(before);
                }
                Poll::Ready(outcome)
            }
            not_now => not_now,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => self.waits_to_send(cx),
            ready => ready,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
            Poll::Pending => self.waits_to_send(cx),
            ready => ready,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write: all of it was taken.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_unflushed = false;
        self.sending = None;
        Poll::Ready(Ok(()))
    }

    /// There may be a last word: [`Guarded::close`] ends the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
