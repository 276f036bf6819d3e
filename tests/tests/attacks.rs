//! Clients that mean harm: slow, huge, ambiguous and too many. Others go on being served. (R-70 to R-73)

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ecomdash_tests::{
    Ecomdash, SECRET, Shop, TestDatabase,
    raw_http::{Exchange, RawClient, address_of, exchange, p95},
    system::{connections, forget_peak, memory_kib, peak_kib},
};
use shopify::signature::sign;
use tokio::{net::TcpStream, task::JoinSet};

const PATIENCE: Duration = Duration::from_secs(5);
/// By then a slow client is cut.
const LIMIT: Duration = Duration::from_secs(15);

async fn world() -> (TestDatabase, Ecomdash, Shop) {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    shop.stats("2026-11-01", "2026-11-01").await;
    (database, server, shop)
}

/// How long an ordinary request takes; it must succeed.
async fn ask(shop: &Shop) -> Duration {
    let began = Instant::now();
    let (status, _) = shop.get("/api/dashboard/stats?from=2026-11-01&to=2026-11-01").await;
    assert_eq!(status, 200);
    began.elapsed()
}

/// A delivery's head: the signature could be one, so its body is read.
fn delivery(headers: &str) -> String {
    let signature = sign(b"another body", SECRET.as_bytes());
    format!("POST /webhooks/orders_create HTTP/1.1\r\nHost: x\r\nX-Shopify-Hmac-Sha256: {signature}\r\n{headers}\r\n")
}

#[tokio::test]
async fn r_70_two_hundred_slow_clients_are_cut_while_others_are_served() {
    let (_database, server, shop) = world().await;
    let pid = server.pid();
    let mut quiet = Vec::new();
    for _ in 0..60 {
        quiet.push(ask(&shop).await);
    }
    let memory_before = memory_kib(pid).unwrap();
    forget_peak(pid);

    let (headers, bodies, readers) = (70, 70, 60);
    let mut slow = JoinSet::new();
    let began = Instant::now();
    for number in 0..headers + bodies + readers {
        let (url, token) = (server.url.clone(), shop.token.clone());
        slow.spawn(async move {
            let series = "GET /api/dashboard/series?metric=total_sales&from=2021-01-01&to=2026-06-01 HTTP/1.1";
            let (begins, more) = match number {
                // A header a second, and a byte of a body a second.
                n if n < headers => ("GET /health HTTP/1.1\r\nHost: x\r\n".to_owned(), "X-Slow: 1\r\n"),
                n if n < headers + bodies => (delivery("Content-Length: 100000\r\n"), "{"),
                // More than lies in any buffer, and nobody who reads it.
                _ => (format!("{series}\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n").repeat(4), ""),
            };
            let mut client = match more {
                "" => RawClient::connect_deaf(&url).await,
                _ => RawClient::connect(&url).await,
            };
            client.send(begins.as_bytes()).await;
            while began.elapsed() < Duration::from_secs(20) && client.send(more.as_bytes()).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    // All hold their connections for a while; then all are gone, though none of them ended it.
    let (mut busy, mut most) = (Vec::new(), 0);
    let cut = loop {
        busy.push(ask(&shop).await);
        let open = connections(&server.url).await;
        most = most.max(open);
        // The one that asks may keep one.
        if most >= 190 && open <= 1 {
            break began.elapsed();
        }
        assert!(began.elapsed() < LIMIT, "{open} of {most} connections are still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    slow.shutdown().await;
    let (quiet, under_attack, samples) = (p95(quiet), p95(busy.clone()), busy.len());
    let grown = peak_kib(pid).unwrap() - memory_before;
    println!(
        "{most} slow clients cut after {cut:?}; p95 {quiet:?} before, {under_attack:?} meanwhile ({samples} requests); {grown} KiB more"
    );
    assert!(under_attack < Duration::from_millis(200).max(5 * quiet), "{under_attack:?}, and {quiet:?} without them");
    assert!(grown < 100 * 1024, "{grown} KiB more memory");
}

/// Another's program for the same, where it is installed.
#[tokio::test]
async fn r_70_slowhttptest_is_cut_too() {
    // Only Linux gives up what its kernel holds of an answer when nobody takes it (TCP_USER_TIMEOUT).
    let is_there = cfg!(target_os = "linux") && Command::new("slowhttptest").arg("-h").output().is_ok();
    if !is_there {
        ecomdash_tests::looked_at_nothing("slowhttptest is not installed, or this is not Linux");
        return;
    }
    let (_database, server, _shop) = world().await;
    let ours = connections(&server.url).await;
    // Who reads slowly asks for what the kernel does not take at once. One that has all its answers only idles, and may.
    let slow_reader = ["-X", "-k", "5", "-w", "10", "-y", "20", "-n", "5", "-z", "32"];
    let runs = [(&["-H"][..], "/health"), (&slow_reader, "/openapi.json")].map(|(mode, path)| {
        let url = format!("{}{path}", server.url);
        let limits = ["-c", "100", "-r", "100", "-i", "1", "-l", "20", "-p", "3", "-u", &url];
        let mut command = Command::new("slowhttptest");
        command.args(mode).args(limits).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    });
    let began = Instant::now();
    let (mut most, mut last_open) = (0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(3) || (connections(&server.url).await > ours && last_open < LIMIT) {
        most = most.max(connections(&server.url).await);
        last_open = began.elapsed();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for mut run in runs {
        run.kill().unwrap();
        run.wait().unwrap();
    }
    println!("slowhttptest held {most} connections at most, the last one for {last_open:?}");
    assert!(most >= 150, "it was not slow: {most} connections");
    assert!(last_open < LIMIT, "the last one was open for {last_open:?}");
}

fn assert_problem(name: &str, answer: &Exchange, status: u16) {
    assert_eq!(answer.statuses(), [status], "{name}: {answer:?}");
    assert!(answer.is_closed, "{name}: the connection stays open");
    let (head, body) = answer.text.split_once("\r\n\r\n").expect(name);
    assert!(head.to_lowercase().contains("content-type: application/problem+json"), "{name}: {head}");
    let problem: serde_json::Value = serde_json::from_str(body).expect(name);
    assert_eq!(problem["status"], status, "{name}: {body}");
}

#[tokio::test]
async fn r_71_what_is_too_large_is_refused_and_takes_no_memory() {
    let (_database, server, shop) = world().await;
    let pid = server.pid();
    let limit = 5 * 1024 * 1024;
    let mebibyte = "x".repeat(1024 * 1024);
    let chunked = (0..40).map(|_| format!("100000\r\n{mebibyte}\r\n")).collect::<String>();
    let tiny = "1\r\nx\r\n".repeat(limit + 10);
    let small_bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let cases: [(&str, Vec<u8>, u16); 9] = [
        ("a length over the limit", delivery(&format!("Content-Length: {}\r\n", limit + 1)).into(), 413),
        ("a length beyond any", delivery("Content-Length: 18446744073709551615\r\n").into(), 400),
        ("40 MiB, sent", (delivery("Content-Length: 41943040\r\n") + &mebibyte.repeat(40)).into(), 413),
        ("40 MiB in chunks", (delivery("Transfer-Encoding: chunked\r\n") + &chunked).into(), 413),
        ("five million chunks", (delivery("Transfer-Encoding: chunked\r\n") + &tiny).into(), 400),
        (
            "10,000 headers",
            format!("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(10_000)).into(),
            431,
        ),
        ("one long header", format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {mebibyte}\r\n\r\n").into(), 431),
        ("an address of 64 KB", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(65_536)).into(), 414),
        (
            "a gzip bomb",
            [
                delivery("Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: 10\r\n").into_bytes(),
                small_bomb,
            ]
            .concat(),
            415,
        ),
    ];
    ask(&shop).await;
    for (name, bytes, status) in cases {
        forget_peak(pid);
        let before = memory_kib(pid).unwrap();
        let answer = exchange(&server.url, &bytes, Duration::from_secs(30)).await;
        assert_problem(name, &answer, status);
        let grown = peak_kib(pid).unwrap() - before;
        println!("{name}: {status} after {:?}, {grown} KiB more", answer.took);
        assert!(grown < 20 * 1024, "{name}: {grown} KiB more memory");
    }
    ask(&shop).await;
}

#[tokio::test]
async fn r_72_a_request_that_can_be_read_in_two_ways_is_refused_and_the_connection_closed() {
    let (_database, server, shop) = world().await;
    let smuggled = "GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    let post = |headers: &str, body: &str| format!("POST /webhooks HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
    let length = smuggled.len();
    let hidden = format!("0\r\n\r\n{smuggled}");
    let mut cases = vec![
        ("a length, then chunks", post("Content-Length: 4\r\nTransfer-Encoding: chunked", &hidden)),
        ("chunks, then a length", post("Transfer-Encoding: chunked\r\nContent-Length: 4", &hidden)),
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {length}"), smuggled)),
        ("two equal lengths", post("Content-Length: 0\r\nContent-Length: 0", smuggled)),
        ("a list of lengths", post("Content-Length: 0, 0", smuggled)),
        ("a length with a sign", post("Content-Length: +0", smuggled)),
        ("bare line feeds", post("X: y", "").replace("\r\n", "\n") + smuggled),
        ("one bare line feed", post("X: y\nContent-Length: 5", smuggled)),
        ("a bare carriage return", post("X: y\rContent-Length: 5", smuggled)),
        ("a folded header", post(&format!("X: y\r\n Content-Length: {length}"), smuggled)),
        ("a folded first header", format!("POST /webhooks HTTP/1.1\r\n Host: x\r\n\r\n{smuggled}")),
        ("a blank before the colon", post(&format!("Content-Length : {length}"), smuggled)),
        ("two hosts", post("Host: y", smuggled)),
        ("a null byte", post("X: \0y", smuggled)),
        (
            "HTTP/1.0 in chunks",
            post("Transfer-Encoding: chunked", &hidden).replace("HTTP/1.1\r\nHost: x", "HTTP/1.0\r\nHost: x"),
        ),
    ];
    let codings = [
        "xchunked",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "\u{b}chunked",
        "\"chunked\"",
        "chunked;q=1",
        "chunked\r\nTransfer-Encoding: identity",
        "identity\r\nTransfer-Encoding: chunked",
    ];
    cases.extend(codings.map(|coding| (coding, post(&format!("Transfer-Encoding: {coding}"), &hidden))));
    for (name, text) in &cases {
        let answer = exchange(&server.url, text.as_bytes(), PATIENCE).await;
        assert_eq!(answer.statuses(), [400], "{name}: {answer:?}");
        assert!(answer.is_closed, "{name}: the connection stays open");
    }
    // Chunks that are not what they say: the body is refused, and what hides behind it is not answered.
    let chunked = delivery("Transfer-Encoding: chunked\r\n");
    for chunks in ["5\r\nabc\r\n", "3\nabc\r\n", "0x3\r\nabc\r\n", "3\r\nabcd\r\n", "-1\r\n", "3;a\nb\r\nabc\r\n"] {
        let answer = exchange(&server.url, format!("{chunked}{chunks}{hidden}").as_bytes(), PATIENCE).await;
        assert_eq!(answer.statuses(), [400], "{chunks:?}: {answer:?}");
        assert!(answer.is_closed, "{chunks:?}: the connection stays open");
    }
    // What is meant as two requests is answered as two: the check can see a second answer.
    let two = exchange(&server.url, smuggled.repeat(2).as_bytes(), Duration::from_millis(500)).await;
    assert_eq!(two.statuses(), [200, 200]);
    ask(&shop).await;
}

/// Of the server's own; more than it takes.
const CAPACITY: usize = 1024;

#[tokio::test]
async fn r_73_a_flood_of_connections_takes_the_place_of_nobody_who_asks() {
    cli::process::allow_many_files().unwrap();
    let (_database, server, _shop) = world().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let first_status = |answer: &Exchange| answer.statuses().first().copied();

    // Everything is taken, by connections that ask for nothing, and come again when they are closed.
    let mut flood = JoinSet::new();
    let evicted = Arc::new(AtomicUsize::new(0));
    for number in 0..CAPACITY + 100 {
        let (address, evicted) = (address_of(&server.url), Arc::clone(&evicted));
        flood.spawn(async move {
            // Within two seconds: all at once, the kernel would drop some before the server sees them.
            tokio::time::sleep(Duration::from_millis(number as u64 * 2)).await;
            loop {
                if let Ok(stream) = TcpStream::connect(address).await {
                    let _ = stream.readable().await;
                    evicted.fetch_add(1, Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    // Before the time of an idle connection is over, one is closed only for another.
    let deadline = Instant::now() + Duration::from_secs(9);
    while connections(&server.url).await < CAPACITY * 9 / 10 || evicted.load(Relaxed) == 0 {
        assert!(Instant::now() < deadline, "the flood does not come: {} connections", connections(&server.url).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (mut healthy, mut served, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..60 {
        let health = exchange(&server.url, get("/health").as_bytes(), PATIENCE).await;
        assert_eq!(first_status(&health), Some(200), "{health:?}");
        healthy.push(health.took);
        // Without a token: whoever is let in is told so.
        let answer = exchange(&server.url, get("/api/orders").as_bytes(), PATIENCE).await;
        match first_status(&answer) {
            Some(401) => served.push(answer.took),
            Some(503) => refused.push(answer.took),
            other => panic!("{other:?}: {answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "p95 of /health {:?}; {} requests served, {} told to come again",
        p95(healthy.clone()),
        served.len(),
        refused.len()
    );
    assert!(p95(healthy) < Duration::from_secs(1));
    assert!(served.len() > 20, "{} served, {} told to come again", served.len(), refused.len());
    assert!(refused.iter().all(|took| *took < Duration::from_secs(1)), "{refused:?}");

    // It recovers by itself.
    flood.shutdown().await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while connections(&server.url).await > 0 {
        assert!(Instant::now() < deadline, "{} connections stay", connections(&server.url).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = exchange(&server.url, get("/api/orders").as_bytes(), PATIENCE).await;
    assert_eq!(first_status(&answer), Some(401));
}
