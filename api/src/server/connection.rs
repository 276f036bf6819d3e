//! One connection, from its first byte to its last.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{ServerOptions, connections::Place, guarded::Guarded};
use crate::{ApiError, Peer, edge::plain_headers, request_log::Deadline};

/// A spare place is for one short question.
const SPARE_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers requests until either side has enough.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    options: ServerOptions,
    place: Place,
    stop: CancellationToken,
) {
    let place = Arc::new(place);
    let limit = |usual: Duration| if place.is_spare { usual.min(SPARE_TIMEOUT) } else { usual };
    let activity = Arc::clone(&place.activity);
    let stream =
        Guarded::new(stream, Arc::clone(&activity), limit(options.receive_timeout), limit(options.send_timeout));
    let service = {
        let place = Arc::clone(&place);
        service_fn(move |request: Request<Incoming>| {
            let (router, place) = (router.clone(), Arc::clone(&place));
            async move {
                place.activity.asked();
                let response = if place.is_spare && request.uri().path() != "/health" {
                    no_room()
                } else {
                    answer(router, request, peer, options.request_timeout).await
                };
                place.answered();
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // What has begun is timed by `Guarded`.
        .header_read_timeout(limit(options.idle_timeout))
        .keep_alive(!place.is_spare)
        .max_headers(100)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // A client that hangs up or is too slow ends its own connection: nothing to report.
            _ = &mut connection => break,
            () = activity.evicted.cancelled() => return,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    let mut stream = connection.into_parts().io.into_inner();
    let last_word = stream.take_refusal().map(|refusal| refusal.to_wire()).unwrap_or_default();
    tokio::select! {
        () = stream.close(&last_word) => {}
        () = activity.evicted.cancelled() => {}
        () = stop.cancelled() => {}
    }
}

async fn answer(router: Router, request: Request<Incoming>, peer: SocketAddr, limit: Duration) -> Response {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(Deadline(Instant::now() + limit));
    match tokio::time::timeout(limit, router.oneshot(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => plain(ApiError::Timeout),
    }
}

/// A problem that no route answered.
fn plain(problem: ApiError) -> Response {
    let mut response = problem.into_response();
    plain_headers(response.headers_mut());
    response
}

fn no_room() -> Response {
    let mut response = plain(ApiError::Unavailable(None));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
