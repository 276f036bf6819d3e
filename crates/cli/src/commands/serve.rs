//! The processes that go on until they are told to stop: `up`, `serve`, `work`.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use api::{App, MetricsPage, ServerOptions, Turns, router, side_router};
use chrono::Utc;
use compliance::Book;
use event_store::Database;
use ingest::Receiver;
use projector::{Worker, WorkerOptions};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::output;
use crate::{
    args::{ServeArgs, UpArgs, WorkArgs},
    config::Environment,
    observe,
    postgres::PrivatePostgres,
    process::allow_many_files,
    session::{Schema, Session},
};

/// Connections of `up`, which has two pools, of the API and of the workers, and a database of its own.
const UP_CONNECTIONS: u32 = 10;
const UP_WORK_CONNECTIONS: u32 = 6;
/// Connections of `serve`. While a deploy runs there are two of it and of `work`, and a command beside them: together 20. The
/// smallest servers, of 25, leave 22 to those that are not superusers, of which whoever watches has one or two.
pub const SERVE_CONNECTIONS: u32 = 5;
/// Connections of `work`.
pub const WORK_CONNECTIONS: u32 = 4;
const DEFAULT_PORT: u16 = 8000;
/// Connections that wait to be accepted. Where it overflows, the kernel drops whoever comes, `/health` too, for a second.
const BACKLOG: u32 = 4096;

/// `up`: everything in one process.
pub async fn up(environment: &Environment, args: &UpArgs) -> anyhow::Result<ExitCode> {
    // First: a signal while the private Postgres starts must leave none behind.
    let stop = stop_on_signal()?;
    everything(environment, args.port, stop, async |_| Ok(())).await
}

/// What runs, for whoever uses it from inside.
pub struct Running {
    /// Where it listens.
    pub url: String,
    /// The API's pool.
    pub database: Database,
    /// Ends all of it; it ends by signals, too.
    pub stop: CancellationToken,
}

/// API and workers until `stop`, and something beside them, whose fault ends them.
pub async fn everything(
    environment: &Environment,
    port: Option<u16>,
    stop: CancellationToken,
    beside: impl AsyncFnOnce(Running) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut session = Session::open(environment, environment.pool_size(UP_CONNECTIONS), Schema::Migrate).await?;
    let listener = listen_locally(port)?;
    let wake = Arc::new(Notify::new());
    let metrics = observe::start(environment, &session.database, &stop)?;
    let app = app(environment, &session, Arc::clone(&wake), metrics)?;
    let working = work_apart(environment, &session, wake, stop.clone())?;
    // The database is there until the last request and the last batch are done.
    let done = CancellationToken::new();
    let _done = done.clone().drop_guard();
    let guard = session.private.take().map(|private| tokio::spawn(keep_running(private, stop.clone(), done.clone())));
    allow_many_connections();
    announce(&listener)?;

    let running = Running {
        url: format!("http://{}", listener.local_addr()?),
        database: session.database.clone(),
        stop: stop.clone(),
    };
    let beside = async {
        let outcome = beside(running).await;
        if outcome.is_err() {
            stop.cancel();
        }
        outcome
    };
    let serving = api::serve(listener, router(app), ServerOptions::default(), stop.clone());
    let (served, beside) = tokio::join!(serving, beside);
    stop.cancel();
    let worked = tokio::task::spawn_blocking(move || working.join()).await?;
    worked.map_err(|_| anyhow::anyhow!("the workers panicked"))??;
    session.database.close().await;
    done.cancel();
    let guarded = match guard {
        Some(guard) => guard.await?,
        None => Ok(()),
    };
    beside?;
    served?;
    guarded?;
    Ok(ExitCode::SUCCESS)
}

/// `serve`: the API.
pub async fn serve(environment: &Environment, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal()?;
    let session = Session::open(environment, environment.pool_size(SERVE_CONNECTIONS), Schema::Ignore).await?;
    let everywhere = environment.is_production();
    let listener = listen_anywhere(args.host, args.port, everywhere)?;
    let metrics = observe::start(environment, &session.database, &stop)?;
    let app = app(environment, &session, Arc::default(), metrics)?;
    allow_many_connections();
    announce(&listener)?;
    // It listens at once: while the database is away, deliveries are refused so that they come again.
    let serving = api::serve(listener, router(app), ServerOptions::default(), stop.clone());
    let checking = async {
        let fits = tokio::select! {
            fits = session.wait_until_usable() => fits,
            () = stop.cancelled() => Ok(()),
        };
        if fits.is_err() {
            stop.cancel();
        }
        fits
    };
    let (served, fits) = tokio::join!(serving, checking);
    session.database.close().await;
    fits?;
    served?;
    Ok(ExitCode::SUCCESS)
}

/// `work`: the workers.
pub async fn work(environment: &Environment, args: &WorkArgs) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal()?;
    let session = Session::open(environment, environment.pool_size(WORK_CONNECTIONS), Schema::Ignore).await?;
    let metrics = observe::start(environment, &session.database, &stop)?;
    // It lives while it waits for the database, too. Whatever ends the workers ends this.
    let _ends = stop.clone().drop_guard();
    let side = match args.metrics_port {
        Some(port) => {
            let listener = listen_anywhere(None, port, environment.is_production())?;
            announce(&listener)?;
            let router = side_router(environment.environment.as_str().into(), metrics);
            Some(tokio::spawn(api::serve(listener, router, ServerOptions::default(), stop.clone())))
        }
        None => None,
    };
    tokio::select! {
        fits = session.wait_until_usable() => fits?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    }
    tracing::info!("working");
    let worker = Worker::new(session.database.clone(), worker_options(environment)?, Arc::default());
    worker.run(stop).await;
    session.database.close().await;
    if let Some(side) = side {
        side.await??;
    }
    Ok(ExitCode::SUCCESS)
}

/// The workers have threads of their own, which a batch may hold for a while: requests do not wait for them.
fn work_apart(
    environment: &Environment,
    session: &Session,
    wake: Arc<Notify>,
    stop: CancellationToken,
) -> anyhow::Result<std::thread::JoinHandle<anyhow::Result<()>>> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    let connections = environment.pool_size(UP_WORK_CONNECTIONS);
    let (options, pool) = (worker_options(environment)?, session.another_pool(environment, connections)?);
    Ok(std::thread::spawn(move || {
        // Whatever ends the workers ends the rest.
        let _ends = stop.clone().drop_guard();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("ecomdash-work")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            // Opened here: connections belong to the runtime that opened them.
            let database = pool.open()?;
            Worker::new(database.clone(), options, wake).run(stop).await;
            database.close().await;
            Ok(())
        })
    }))
}

/// Of two threads that want a core, the one that somebody waits for has it.
fn give_way() {
    // Elsewhere than on Linux it would hold for the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(error = &error as &dyn std::error::Error, "workers run like anybody else");
    }
}

fn worker_options(environment: &Environment) -> anyhow::Result<WorkerOptions> {
    let book = environment.receipts_file().map(|path| {
        Book::open(&path).map(Arc::new).with_context(|| format!("RECEIPTS_FILE: {} cannot be used", path.display()))
    });
    Ok(WorkerOptions {
        book: book.transpose()?,
        body_retention_days: environment.inbox_retention_days,
        signing: Some(Arc::new(environment.signing_keys()?)),
        ..WorkerOptions::default()
    })
}

fn app(
    environment: &Environment,
    session: &Session,
    wake: Arc<Notify>,
    metrics: Option<MetricsPage>,
) -> anyhow::Result<App> {
    let mut edge = environment.edge()?;
    edge.metrics = metrics;
    Ok(App {
        database: session.database.clone(),
        receiver: Receiver::new(session.database.clone()),
        secrets: environment.shopify_secrets()?.into(),
        wake,
        clock: Utc::now,
        environment: environment.environment.as_str().into(),
        edge: Arc::new(edge),
        // Of a machine's memory, and of its connections: the rest is for what merchants look at and Shopify sends.
        verifying: Arc::new(Turns::new(2)),
        adding_up: Arc::new(Turns::new(2)),
        redaction_hold_hours: environment.redaction_hold_hours,
        signing: environment.signing_keys_if_any()?.map(Arc::new),
    })
}

/// An address that was asked for; otherwise this machine's own, or in production every one.
fn listen_anywhere(host: Option<IpAddr>, port: u16, everywhere: bool) -> anyhow::Result<TcpListener> {
    let host = host.unwrap_or(IpAddr::V4(if everywhere { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST }));
    let address = SocketAddr::new(host, port);
    listen(address).with_context(|| format!("cannot listen on {address}"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The port that was asked for, or the usual one, or any free one if that is taken.
fn listen_locally(port: Option<u16>) -> anyhow::Result<TcpListener> {
    let bind = |port| listen((Ipv4Addr::LOCALHOST, port).into());
    match bind(port.unwrap_or(DEFAULT_PORT)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && port.is_none() => {
            tracing::warn!("port {DEFAULT_PORT} is taken: listening on another one");
            bind(0).context("no port is free")
        }
        outcome => outcome.with_context(|| format!("cannot listen on port {}", port.unwrap_or(DEFAULT_PORT))),
    }
}

/// Where it cannot, connections wait to be accepted until others end.
fn allow_many_connections() {
    if let Err(error) = allow_many_files() {
        tracing::debug!(error = &error as &dyn std::error::Error, "the number of open files stays as it is");
    }
}

fn announce(listener: &TcpListener) -> anyhow::Result<()> {
    output::line(format!("listening on http://{}", listener.local_addr()?));
    Ok(())
}

/// Ends with SIGINT or SIGTERM; from here on they end nothing by themselves.
pub fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let on_signal = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: finishing what is under way");
        on_signal.cancel();
    });
    Ok(stop)
}

/// Starts the private Postgres again if it dies; when that fails, there is no use in going on.
async fn keep_running(
    private: PrivatePostgres,
    stop: CancellationToken,
    done: CancellationToken,
) -> anyhow::Result<()> {
    let private = Arc::new(private);
    let mut failures = 0;
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let checked = Arc::clone(&private);
        match tokio::task::spawn_blocking(move || checked.ensure_running()).await? {
            Ok(restarted) => {
                failures = 0;
                if restarted {
                    tracing::warn!("the private Postgres had died and was started again");
                }
            }
            Err(error) => {
                failures += 1;
                tracing::error!(error = &error as &dyn std::error::Error, "the private Postgres does not run");
                if failures == 3 {
                    stop.cancel();
                    bail!(error);
                }
            }
        }
    }
    // Leaving stops the server if nobody else uses it, which blocks.
    tokio::task::spawn_blocking(move || drop(private)).await?;
    Ok(())
}
