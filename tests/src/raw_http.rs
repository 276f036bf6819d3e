//! A client that sends bytes as they are: for requests that no library makes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// A connection.
pub struct RawClient(pub TcpStream);

/// What came back on a connection.
#[derive(Debug)]
pub struct Exchange {
    /// All of it.
    pub text: String,
    /// The server ended the connection.
    pub is_closed: bool,
    /// Until the end, or until patience was over.
    pub took: Duration,
}

/// The socket behind a URL.
pub fn address_of(url: &str) -> SocketAddr {
    url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("a URL of an address and a port")
}

impl RawClient {
    /// Connects.
    pub async fn connect(url: &str) -> Self {
        Self(TcpStream::connect(address_of(url)).await.expect("the server accepts"))
    }

    /// Connects, with room for very little that comes back.
    pub async fn connect_deaf(url: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        SockRef::from(&socket).set_recv_buffer_size(2048).expect("a small buffer");
        Self(socket.connect(address_of(url)).await.expect("the server accepts"))
    }

    /// Sends bytes; whether they could be sent.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// All that comes, until the server ends the connection or patience is over.
    pub async fn read(&mut self, patience: Duration) -> Exchange {
        let began = Instant::now();
        let mut bytes = Vec::new();
        let ended = timeout(patience, self.0.read_to_end(&mut bytes)).await;
        Exchange { text: String::from_utf8_lossy(&bytes).into_owned(), is_closed: ended.is_ok(), took: began.elapsed() }
    }
}

/// Sends bytes on a connection of their own while it reads what comes back.
pub async fn exchange(url: &str, bytes: &[u8], patience: Duration) -> Exchange {
    let client = RawClient::connect(url).await;
    let (mut reader, mut writer) = client.0.into_split();
    let bytes = bytes.to_vec();
    // The server may answer and close before it has read everything: that is no failure of the sender.
    let sending = tokio::spawn(async move {
        let _ = writer.write_all(&bytes).await;
        writer
    });
    let began = Instant::now();
    let mut answer = Vec::new();
    let ended = timeout(patience, reader.read_to_end(&mut answer)).await;
    sending.abort();
    Exchange { text: String::from_utf8_lossy(&answer).into_owned(), is_closed: ended.is_ok(), took: began.elapsed() }
}

impl Exchange {
    /// The status of each answer that came.
    pub fn statuses(&self) -> Vec<u16> {
        let answers = self.text.match_indices("HTTP/1.1 ");
        answers.filter_map(|(at, begin)| self.text[at + begin.len()..].get(..3)?.parse().ok()).collect()
    }
}

/// The value below which 95 of a hundred are.
pub fn p95(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 95).div_ceil(100).saturating_sub(1)]
}
