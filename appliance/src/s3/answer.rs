//! Response bodies.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;

use crate::server::Body;

/// A response without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    with_status(status, body)
}

/// An XML document.
#[must_use]
pub fn xml(status: StatusCode, document: String) -> Response<Body> {
    let mut response = bytes(status, Bytes::from(document));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Bytes that are all there.
#[must_use]
pub fn bytes(status: StatusCode, bytes: Bytes) -> Response<Body> {
    with_status(status, Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

/// Object bytes as they are read. An error cuts the connection: the client sees fewer bytes than announced.
#[must_use]
pub fn stream(
    status: StatusCode,
    headers: HeaderMap,
    body: BoxStream<'static, Result<Bytes, storage::Error>>,
) -> Response<Body> {
    let frames = body.map(|chunk| match chunk {
        Ok(bytes) => Ok(Frame::data(bytes)),
        Err(error) => {
            tracing::error!(%error, "an object body broke while it was sent");
            Err(std::io::Error::other(error))
        }
    });
    let mut response = with_status(status, BodyExt::boxed_unsync(StreamBody::new(frames)));
    *response.headers_mut() = headers;
    response
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
