//! A TCP proxy that can fall silent: connections are accepted and held, and nothing goes through.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// In front of a port of loopback.
pub struct Proxy {
    port: u16,
    is_silent: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    /// Lets everything through until it is told otherwise. Its threads end with the test.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (is_silent, accepted) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (silent, count) = (Arc::clone(&is_silent), Arc::clone(&accepted));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let silent = Arc::clone(&silent);
                thread::spawn(move || carry(client, target, &silent));
            }
        });
        Self { port, is_silent, accepted }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Falls silent, or speaks again. What was held back is never sent.
    pub fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// How many connections came so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn carry(client: TcpStream, target: u16, is_silent: &Arc<AtomicBool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
    let silent = Arc::clone(is_silent);
    thread::spawn(move || pump(server_too, client_too, &silent));
    pump(client, server, is_silent);
}

/// A connection that was silent once stays so, as one does whose other end is gone.
fn pump(mut from: TcpStream, mut to: TcpStream, is_silent: &AtomicBool) {
    let mut buffer = [0; 16_384];
    let _ = from.set_read_timeout(Some(Duration::from_secs(60)));
    let mut was_silent = false;
    while let Ok(count) = from.read(&mut buffer) {
        was_silent |= is_silent.load(Ordering::Relaxed);
        if count == 0 || (!was_silent && to.write_all(&buffer[..count]).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
