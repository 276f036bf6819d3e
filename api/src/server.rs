//! The accept loop. axum's own sets no timer, so that one client could hold a connection for ever and hold up the end.

mod connection;
mod connections;
mod framing;
mod guarded;

use std::{io, time::Duration};

use axum::Router;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use connections::Connections;

use crate::metrics::count_refused_connection;

/// Of an answer, so much may lie in the kernel; left to itself it takes megabytes for each client that does not read.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// How long connections may take.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    /// For a whole request to come, from its first byte to its last; the first one from the connection's begin.
    pub receive_timeout: Duration,
    /// For the next request to begin. Longer than proxies keep connections: one that uses a connection which is being closed
    /// here answers its client 502.
    pub idle_timeout: Duration,
    /// For a client to take what it is sent.
    pub send_timeout: Duration,
    /// For a request and its answer.
    pub request_timeout: Duration,
    /// For the requests under way when the end comes.
    pub drain: Duration,
    /// At once. For further ones another is closed that asks for nothing; if there is none, they are told to come again.
    pub max_connections: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            receive_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(150),
            send_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(20),
            max_connections: 1024,
        }
    }
}

/// Serves until `stop`, then finishes what is under way.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServerOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    let connections = Connections::new(options.max_connections);
    let tasks = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_fatal(&error) => return Err(error),
                // Of a client that hung up early, macOS tells no address, and mio finds that invalid.
                Err(error) if error.raw_os_error().is_none() => continue,
                Err(error) => {
                    // Out of file descriptors, most likely: connections that end give some back.
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Some(place) = connections.admit() else {
            count_refused_connection();
            continue;
        };
        prepare(&stream, options.send_timeout);
        tasks.spawn(connection::serve(stream, peer, router.clone(), options, place, stop.clone()));
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(options.drain, tasks.wait()).await.is_err() {
        tracing::warn!("requests were still under way when the time to finish them was over");
    }
    Ok(())
}

/// Without these it works, only less well.
fn prepare(stream: &TcpStream, send_timeout: Duration) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    // What the kernel holds of an answer is to be taken in time as well.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(send_timeout));
    #[cfg(not(target_os = "linux"))]
    let _ = send_timeout;
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
}

fn is_fatal(error: &io::Error) -> bool {
    error.raw_os_error().is_some() && matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_listener_is_given_up_only_for_what_the_system_says_of_it() {
        assert!(is_fatal(&io::Error::from_raw_os_error(22)), "EINVAL");
        assert!(!is_fatal(&io::ErrorKind::InvalidInput.into()), "a client without an address");
        assert!(!is_fatal(&io::Error::from(io::ErrorKind::ConnectionAborted)));
    }

    #[tokio::test]
    async fn without_room_only_health_is_answered_and_others_are_told_to_come_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().route("/health", get(async || "alive")).route("/other", get(async || "served"));
        let stop = CancellationToken::new();
        let ask = async |path: &str| {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("it reads");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("it answers, and closes");
            answer.to_lowercase()
        };
        let options = ServerOptions { max_connections: 0, ..ServerOptions::default() };
        let serving = tokio::spawn(serve(listener, router, options, stop.clone()));
        for _ in 0..3 {
            let (health, other) = (ask("/health").await, ask("/other").await);
            assert!(health.starts_with("http/1.1 200") && health.ends_with("alive"), "{health}");
            assert!(other.starts_with("http/1.1 503") && other.contains("retry-after: 2"), "{other}");
            assert!(other.contains("application/problem+json"), "{other}");
        }
        stop.cancel();
        serving.await.expect("it does not panic").expect("it ends well");
    }

    #[tokio::test]
    async fn a_connection_may_idle_between_requests_and_not_before_or_within_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().route("/", get(async || "served"));
        let options = ServerOptions { receive_timeout: Duration::from_millis(200), ..ServerOptions::default() };
        let serving = tokio::spawn(serve(listener, router, options, CancellationToken::new()));
        let pause = || tokio::time::sleep(Duration::from_millis(500));
        let rest_of = async |client: &mut TcpStream| {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("it closes");
            answer
        };

        let mut client = TcpStream::connect(address).await.expect("it listens");
        let mut answer = [0; 1024];
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
            let count = client.read(&mut answer).await.expect("it answers");
            assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
            pause().await;
        }
        client.write_all(b"GET / HT").await.expect("it reads");
        assert!(rest_of(&mut client).await.starts_with("HTTP/1.1 408"));

        let mut silent = TcpStream::connect(address).await.expect("it listens");
        pause().await;
        assert_eq!(rest_of(&mut silent).await, "", "nobody asked");
        serving.abort();
    }
}
