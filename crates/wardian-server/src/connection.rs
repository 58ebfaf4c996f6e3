//! One connection: HTTP/1.1, as long as its client keeps moving.

use crate::crowd::{Busy, Member};
use crate::guard::Peer;
use crate::service::Service;
use crate::stall::Stall;
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tower_service::Service as _;

/// What a connection is served with.
pub(crate) struct Serving {
    pub(crate) router: Router,
    pub(crate) service: Arc<Service>,
    /// Changes when connections are to end.
    pub(crate) end: watch::Receiver<()>,
}

const MOST_HEAD_BYTES: usize = 64 << 10;
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: application/problem+json\r\ncontent-length: 117\r\n\r\n\
    {\"type\":\"urn:wardian:problem:connections\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections\"}";

impl Serving {
    /// Serves it on a task of its own.
    pub(crate) fn spawn<S>(self, mut stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let most = self.service.setup().config.requests.connections;
        let place = self.service.crowd.enter(most);
        tokio::spawn(async move {
            let Some(place) = place else {
                let brief = std::time::Duration::from_secs(1);
                let _ = tokio::time::timeout(brief, stream.write_all(TOO_MANY)).await;
                return;
            };
            tokio::select! {
                () = self.serve(stream, peer, Arc::clone(&place.member)) => {}
                () = place.member.told_to_leave() => {}
            }
        });
    }

    async fn serve<S>(mut self, stream: S, peer: Peer, member: Arc<Member>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let requests = self.service.setup().config.requests.clone();
        let io = TokioIo::new(Stall::new(stream, requests.write_time.as_std()));
        let router = self.router;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let busy = Busy::new(&member);
            let answering = router.clone().call(request.map(Body::new));
            async move { answering.await.map(|answer| answer.map(|body| busy.with(body))) }
        });
        let mut builder = http1::Builder::new();
        // A client that closes its side has gone away: its run ends.
        builder.half_close(false).max_buf_size(MOST_HEAD_BYTES);
        builder.timer(TokioTimer::new()).header_read_timeout(requests.head_time.as_std());
        let connection = builder.serve_connection(io, service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = self.end.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}
