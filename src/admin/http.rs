//! The admin listener: metrics, health, and the state as JSON, over HTTP/1.1.
//!
//! Only GET and HEAD of four paths. Whether the proxy is well is told to everybody who may connect;
//! everything else needs the token.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{Admin, metrics};
use crate::base::ExposeSecret;
use crate::config::{Limits, Listen};
use crate::net::{Listener, Stream, serve};

/// Connections at once: a few scrapers, and somebody with a browser.
const CONNECTIONS: usize = 64;
/// From connecting to the end of a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A connection that is used again and again is closed after this.
const CONNECTION_TIME: Duration = Duration::from_mins(5);
/// Octets of a request's head.
const HEAD: usize = 16 << 10;

/// Receives on the admin listeners until `shutdown`.
pub async fn receive(
    admin: Arc<Admin>,
    listeners: Vec<Listener>,
    limits: &Limits,
    shutdown: CancellationToken,
) {
    let limits =
        Limits { sessions: CONNECTIONS, sessions_per_address: CONNECTIONS, ..limits.clone() };
    let connections = TaskTracker::new();
    let handler = |stream: Stream, peer: SocketAddr, _: &Listen| {
        let (admin, shutdown) = (Arc::clone(&admin), shutdown.clone());
        async move {
            let answer = service_fn(|request| answer(&admin, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(stream), answer);
            let connection = timeout(CONNECTION_TIME, connection);
            if let Some(Ok(Err(e))) = shutdown.run_until_cancelled(connection).await {
                debug!(%peer, "the admin listener: {e}");
            }
        }
    };
    serve(listeners, &limits, &shutdown, &connections, handler).await;
    connections.close();
    connections.wait().await;
}

async fn answer(
    admin: &Admin,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"));
    }
    let path = request.uri().path();
    match path {
        "/healthz" => return Ok(text(StatusCode::OK, "ok\n")),
        "/readyz" => {
            return Ok(match admin.ready().await {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            });
        }
        "/metrics" | "/status" => {}
        _ => return Ok(text(StatusCode::NOT_FOUND, "/metrics /status /healthz /readyz\n")),
    }
    if let Some(refused) = refuse(admin, &request) {
        return Ok(refused);
    }
    let told = match path {
        "/metrics" => admin.metrics().await.map(|text| (metrics::CONTENT_TYPE, text)),
        _ => admin.status(None).await.and_then(|status| {
            let json = serde_json::to_string(&status).map_err(super::Refusal::failed);
            Ok(("application/json", json?))
        }),
    };
    Ok(match told {
        Ok((kind, body)) => {
            let mut response = text(StatusCode::OK, body);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")),
    })
}

/// What is answered to a request that does not bear the token (RFC 6750 §2.1).
fn refuse(admin: &Admin, request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    let Some(token) = &admin.server.config.admin.token else {
        return Some(text(
            StatusCode::FORBIDDEN,
            "set admin.token_file in the configuration to be told this\n",
        ));
    };
    let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let shown = shown.and_then(|value| {
        let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
    });
    // Hashes are compared in a time that tells nothing of where they differ.
    let right = blake3::hash(token.expose_secret().as_bytes());
    if shown.is_some_and(|shown| blake3::hash(shown) == right) {
        return None;
    }
    let mut refused = text(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
    refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(refused)
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

impl Admin {
    /// Whether clients can be served.
    ///
    /// # Errors
    /// Why not.
    async fn ready(&self) -> Result<(), String> {
        if self.server.shutdown.is_cancelled() {
            return Err("the proxy is being stopped".into());
        }
        let accounts = &self.server.accounts;
        accounts.index().room().map_err(|e| e.to_string())?;
        accounts.index().setting(crate::index::Setting::Paused).await.map_err(|e| e.to_string())?;
        let primary = self.server.config.auth.primary;
        match accounts.is_away(primary) {
            true => Err(format!("the {primary} server, which checks passwords, cannot be reached")),
            false => Ok(()),
        }
    }
}
