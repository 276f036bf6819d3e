//! A link to Postgres that can be cut, refused, slowed down, stalled, and cut or held at a moment of the protocol.
//!
//! It listens on loopback and goes on to the server's socket. Each connection is one task that reads whole messages, so
//! that a trap springs between two of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{oneshot, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wire::{Session, Step, whole};

/// How the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Open,
    /// New connections are closed as they come.
    Refused,
    /// Everything is accepted and nothing is passed on.
    Stalled,
}

/// When a trap springs: before the server hears of the step, or when it has done it and the client has not heard so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The server never hears of it.
    Before,
    /// The server has done it, and its answer is lost.
    Answered,
}

/// What a trap does to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Ends it on both sides.
    Cut,
    /// Passes nothing on until it is released, the client goes away, or all is cut.
    Hold,
}

/// Springs once, at the step that it waits for.
pub struct Trap {
    /// At which step.
    pub at: Box<dyn Fn(&Step) -> bool + Send>,
    /// When.
    pub moment: Moment,
    /// What then.
    pub effect: Effect,
}

struct Armed {
    trap: Trap,
    sprung: oneshot::Sender<()>,
}

struct Shared {
    socket: PathBuf,
    lease: Option<Duration>,
    link: watch::Sender<Link>,
    /// There, back: in milliseconds.
    delay_ms: [AtomicU64; 2],
    cut: Mutex<CancellationToken>,
    armed: Mutex<Vec<Armed>>,
    released: watch::Sender<u64>,
    open: AtomicUsize,
    accepted: AtomicUsize,
    /// How often those that were open then were stranded.
    stranded: watch::Sender<usize>,
}

/// A proxy; it ends with this.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

impl Trap {
    /// At a statement with these words.
    #[must_use]
    pub fn at_statement(words: &'static str, moment: Moment, effect: Effect) -> Self {
        Self { at: Box::new(move |step| step.says(words)), moment, effect }
    }

    /// At the first commit after a statement with these words, of whichever connection.
    #[must_use]
    pub fn at_commit_after(words: &'static str, moment: Moment, effect: Effect) -> Self {
        let said = AtomicUsize::new(0);
        let at = move |step: &Step| {
            said.fetch_add(usize::from(step.says(words)), Ordering::Relaxed);
            *step == Step::Commit && said.load(Ordering::Relaxed) > 0
        };
        Self { at: Box::new(at), moment, effect }
    }
}

impl Proxy {
    /// A proxy before the server whose socket is in that folder. With `lease`, transactions that idle for so many seconds
    /// are ended, instead of after the program's own thirty: a frozen worker's lease is over sooner.
    pub async fn before(socket_dir: &Path, lease: Option<Duration>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::new(Shared {
            socket: socket_dir.join(".s.PGSQL.5432"),
            lease,
            link: watch::Sender::new(Link::Open),
            delay_ms: [AtomicU64::new(0), AtomicU64::new(0)],
            cut: Mutex::default(),
            armed: Mutex::default(),
            released: watch::Sender::new(0),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            stranded: watch::Sender::new(0),
        });
        let end = CancellationToken::new();
        let (accepting, ends) = (accept(listener, Arc::clone(&shared), end.clone()), end.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ends.cancelled() => {}
                () = accepting => {}
            }
        });
        Self { address, shared, _ends: end.drop_guard() }
    }

    /// The same database by way of this link.
    #[must_use]
    pub fn url(&self, database_url: &str) -> String {
        let (login, rest) = database_url.split_once('@').expect("a URL with a login");
        let (_, rest) = rest.split_once('/').expect("a URL with a database");
        let name = rest.split('?').next().expect("a name");
        format!("{login}@{}/{name}?sslmode=disable", self.address)
    }

    /// Ends every connection.
    pub fn cut(&self) {
        std::mem::take(&mut *self.shared.cut.lock().unwrap()).cancel();
    }

    /// Ends every connection and lets none through.
    pub fn refuse(&self) {
        self.shared.link.send_replace(Link::Refused);
        self.cut();
    }

    /// Passes nothing on.
    pub fn stall(&self) {
        self.shared.link.send_replace(Link::Stalled);
    }

    /// The connections that are open now hear nothing any more, and are not told so; new ones are well. So it is when a
    /// server is replaced by another one behind the same name.
    pub fn strand(&self) {
        self.shared.stranded.send_modify(|times| *times += 1);
    }

    /// As a link should be: traps stay.
    pub fn mend(&self) {
        self.delay(Duration::ZERO, Duration::ZERO);
        self.shared.link.send_replace(Link::Open);
    }

    /// Adds a time to what goes there, and to what comes back.
    pub fn delay(&self, there: Duration, back: Duration) {
        for (place, time) in self.shared.delay_ms.iter().zip([there, back]) {
            place.store(u64::try_from(time.as_millis()).expect("a short time"), Ordering::Relaxed);
        }
    }

    /// Arms a trap; the receiver hears when it has sprung.
    pub fn arm(&self, trap: Trap) -> oneshot::Receiver<()> {
        let (sprung, receiver) = oneshot::channel();
        self.shared.armed.lock().unwrap().push(Armed { trap, sprung });
        receiver
    }

    /// Cuts the connection of the next commit.
    pub fn cut_at_commit(&self, moment: Moment) -> oneshot::Receiver<()> {
        self.arm(Trap { at: Box::new(|step| *step == Step::Commit), moment, effect: Effect::Cut })
    }

    /// Takes traps away that have not sprung.
    pub fn disarm(&self) {
        self.shared.armed.lock().unwrap().clear();
    }

    /// Lets go on what traps hold.
    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }

    /// Connections that were tried so far.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that go through at the moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, end: CancellationToken) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        if *shared.link.borrow() == Link::Refused {
            continue;
        }
        let cut = shared.cut.lock().unwrap().clone();
        let (shared, end) = (Arc::clone(&shared), end.clone());
        tokio::spawn(async move {
            shared.open.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = cut.cancelled() => {}
                () = end.cancelled() => {}
                () = relay(client, &shared) => {}
            }
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// One connection. Its end drops both sides.
async fn relay(mut client: TcpStream, shared: &Shared) {
    let _ = client.set_nodelay(true);
    let mut link = shared.link.subscribe();
    let mut stranded = shared.stranded.subscribe();
    if link.wait_for(|link| *link != Link::Stalled).await.is_err() {
        return;
    }
    let Ok(mut server) = UnixStream::connect(&shared.socket).await else { return };
    let mut session = Session::default();
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut has_begun = false;
    // Answers that are owed, the one to the very first message included; and the one that springs a trap.
    let mut owed = 1_usize;
    let mut lost: Option<(usize, Armed)> = None;
    let mut unheard = Vec::new();
    loop {
        let from_client = tokio::select! {
            _ = stranded.changed() => return strand(client).await,
            read = client.read_buf(&mut asked) => if read.is_ok_and(|read| read > 0) { true } else { return },
            read = server.read_buf(&mut answered) => if read.is_ok_and(|read| read > 0) { false } else { return },
        };
        if link.wait_for(|link| *link != Link::Stalled).await.is_err() {
            return;
        }
        let delay_ms = shared.delay_ms[usize::from(!from_client)].load(Ordering::Relaxed);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        if from_client {
            while let Some((end, body, kind)) = whole(&asked, has_begun) {
                if !has_begun {
                    shorten_lease(&mut asked[..end], shared.lease);
                    has_begun = true;
                } else if let Some(step) = session.hear(kind, &asked[body..end])
                    && lost.is_none()
                    && let Some(armed) = shared.spring(&step)
                {
                    match armed.trap.moment {
                        Moment::Before => {
                            if !shared.hold(armed, &mut client, &mut asked).await {
                                return;
                            }
                        }
                        // A bind is answered by the sync that follows it.
                        Moment::Answered => lost = Some((owed + 1, armed)),
                    }
                }
                owed += usize::from(kind == b'Q' || kind == b'S');
                if server.write_all(&asked[..end]).await.is_err() {
                    return;
                }
                asked.drain(..end);
            }
        } else {
            while let Some((end, _, kind)) = whole(&answered, true) {
                unheard.extend_from_slice(&answered[..end]);
                answered.drain(..end);
                owed = owed.saturating_sub(usize::from(kind == b'Z'));
                lost = match lost {
                    Some((1, armed)) if kind == b'Z' => {
                        if !shared.hold(armed, &mut client, &mut asked).await {
                            return;
                        }
                        None
                    }
                    Some((left, armed)) => Some((left - usize::from(kind == b'Z'), armed)),
                    None => None,
                };
                if lost.is_none() {
                    if client.write_all(&unheard).await.is_err() {
                        return;
                    }
                    unheard.clear();
                }
            }
        }
    }
}

impl Shared {
    /// Whichever trap waits for that step.
    fn spring(&self, step: &Step) -> Option<Armed> {
        let mut armed = self.armed.lock().unwrap();
        let place = armed.iter().position(|armed| (armed.trap.at)(step))?;
        Some(armed.remove(place))
    }

    /// A trap has sprung. Whether the connection goes on after all; what the client says meanwhile is kept.
    async fn hold(&self, armed: Armed, client: &mut TcpStream, asked: &mut Vec<u8>) -> bool {
        let mut released = self.released.subscribe();
        let _ = armed.sprung.send(());
        if armed.trap.effect == Effect::Cut {
            return false;
        }
        loop {
            tokio::select! {
                changed = released.changed() => return changed.is_ok(),
                read = client.read_buf(asked) => if !read.is_ok_and(|read| read > 0) { return false },
            }
        }
    }
}

/// Until the client gives up.
async fn strand(mut client: TcpStream) {
    let mut unheard = [0; 4096];
    while client.read(&mut unheard).await.is_ok_and(|read| read > 0) {}
}

fn shorten_lease(startup: &mut [u8], lease: Option<Duration>) {
    const SETTING: &[u8] = b"idle_in_transaction_session_timeout=30s";
    let Some(lease) = lease else { return };
    // The startup of a connection that is not the program's has no such setting.
    if let Some(at) = startup.windows(SETTING.len()).position(|window| window == SETTING) {
        let text = format!("{:02}s", lease.as_secs());
        startup[at + SETTING.len() - 3..at + SETTING.len()].copy_from_slice(text.as_bytes());
    }
}
