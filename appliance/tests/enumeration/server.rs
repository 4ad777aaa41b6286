//! A whole server in this process, on loopback without TLS, and a client that signs with `aws-sigv4`.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use appliance::app::App;
use appliance::bootstrap::Bootstrap;
use appliance::config::{Resolved, Transport};
use appliance::iam::Status;
use appliance::server::{Body, Connection, Service, Tls};
use audit::query::Query;
use audit::{Files, LocalFiles};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};

/// A running server; stopped by [`Server::stop`], its directory goes with the value.
pub(crate) struct Server {
    app: Arc<App>,
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
    root: User,
    stop: tokio::sync::oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
    directory: tempfile::TempDir,
}

/// Stands for something in front that speaks TLS, because a customer's key is taken over nothing else.
struct BehindTls(Arc<App>);

impl Service for BehindTls {
    fn call(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, http::Response<Body>> {
        let tls = Tls {
            version: "1.3",
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
            group: None,
            sni: None,
            peer_cert_sha256: None,
        };
        let connection = Connection { tls: Some(tls), ..(*connection).clone() };
        Arc::clone(&self.0).call(Arc::new(connection), request)
    }
}

/// Whose key signs.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// A response, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    headers: HeaderMap,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    }
}

/// A server and the user that asks it.
pub(crate) struct As<'a> {
    server: &'a Server,
    user: &'a User,
}

impl As<'_> {
    pub(crate) async fn put_bucket(&self, bucket: &str) {
        let path = format!("/{bucket}");
        let answer = self.server.send(self.user, Method::PUT, &path, "", &[], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// A server that is configured otherwise.
    pub(crate) async fn start_with(configure: impl FnOnce(&mut Resolved)) -> Self {
        Self::start_on(|dir| Arc::new(LocalFiles::new(dir)), configure).await
    }

    /// The same, on other files of the log.
    pub(crate) async fn start_on(
        files: impl FnOnce(&Path) -> Arc<dyn Files>,
        configure: impl FnOnce(&mut Resolved),
    ) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), files, configure).await
    }

    async fn start_in(
        directory: tempfile::TempDir,
        files: impl FnOnce(&Path) -> Arc<dyn Files>,
        configure: impl FnOnce(&mut Resolved),
    ) -> Self {
        let mut resolved = Resolved {
            transport: Transport::PlainLoopback,
            ..Resolved::in_directory(directory.path())
        };
        configure(&mut resolved);
        let material = Bootstrap::open_or_create(&resolved).unwrap();
        let files = files(&material.paths.audit_dir);
        let root = User {
            access_key: material.root.access_key.clone(),
            secret_key: material.root.secret_key.to_string(),
        };
        let app = App::start_on(files, &resolved, material).await.unwrap();
        let metrics = Arc::clone(app.metrics());
        let listener =
            appliance::server::Server::bind(resolved.address, None, resolved.limits).await.unwrap();
        let endpoint = format!("http://{}", listener.address().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let service = Arc::new(BehindTls(Arc::clone(&app)));
        let serving = tokio::spawn(async move {
            listener.run(service, &metrics, async { drop(stopped.await) }).await;
        });
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { app, client, endpoint, root, stop, serving, directory }
    }

    pub(crate) fn root(&self) -> As<'_> {
        As { server: self, user: &self.root }
    }

    pub(crate) const fn root_user(&self) -> &User {
        &self.root
    }

    /// Users and groups as they are now.
    pub(crate) fn users(&self) -> Arc<appliance::iam::Snapshot> {
        self.app.iam().snapshot()
    }

    /// A user with no policy attached.
    pub(crate) async fn add_user(&self, name: &str) -> User {
        let user = User { access_key: name.to_owned(), secret_key: "nobody's-secret-1".to_owned() };
        let iam = self.app.iam();
        iam.add_user(&user.access_key, &user.secret_key, Status::Enabled, 0).await.unwrap();
        user
    }

    pub(crate) async fn attach(&self, policy: &str, user: &User) {
        let entity = appliance::iam::Entity::User(user.access_key.clone());
        self.app.iam().attach(&[policy.to_owned()], &entity, 0).await.unwrap();
        self.app.gate().forget_identities();
    }

    /// Signs and sends.
    pub(crate) async fn send(
        &self,
        user: &User,
        method: Method,
        path: &str,
        query: &str,
        headers: &[(String, String)],
        body: &'static [u8],
    ) -> Answer {
        let response = self.open(user, method, path, query, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            headers: parts.headers,
        }
    }

    /// The same; the body is still to be read.
    pub(crate) async fn open(
        &self,
        user: &User,
        method: Method,
        path: &str,
        query: &str,
        headers: &[(String, String)],
        body: &'static [u8],
    ) -> http::Response<Incoming> {
        let separator = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{path}{separator}{query}", self.endpoint);
        let mut headers = headers.to_vec();
        headers.push(("x-amz-content-sha256".into(), hex::encode(Sha256::digest(body))));
        let identity = Credentials::from_keys(&user.access_key, &user.secret_key, None).into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = aws_sigv4::http_request::PercentEncodingMode::Single;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let signable = SignableRequest::new(
            method.as_str(),
            &uri,
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(body),
        )
        .unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut builder = Request::builder().method(method).uri(&uri);
        for (name, value) in &headers {
            builder = builder.header(name, value);
        }
        let mut request = builder.body(Full::new(Bytes::from_static(body))).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        self.client.request(request).await.unwrap()
    }

    /// The records that a query finds, newest first.
    pub(crate) fn search(&self, query: &str) -> Vec<serde_json::Value> {
        let query = Query::parse(query, u64::MAX).unwrap();
        let directory = self.directory.path().join("audit");
        let answer = audit::search(&directory, &query, audit::SearchOptions::default()).unwrap();
        answer.rows.iter().map(|row| serde_json::from_slice(&row.leaf).unwrap()).collect()
    }

    /// A user with this secret.
    pub(crate) async fn add_user_with(&self, name: &str, secret: &str) {
        self.app.iam().add_user(name, secret, Status::Enabled, 0).await.unwrap();
    }

    pub(crate) fn uri(&self, target: &str) -> String {
        format!("{}{target}", self.endpoint)
    }

    /// Sends a request as it is; its status.
    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>) -> u16 {
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        body.collect().await.unwrap();
        parts.status.as_u16()
    }

    /// Stops, and leaves the directory.
    pub(crate) async fn close(self) -> tempfile::TempDir {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        self.app.stop().unwrap();
        self.directory
    }

    /// The log's name.
    pub(crate) fn origin(&self) -> String {
        let vkey = std::fs::read_to_string(self.directory.path().join("config/audit.vkey"));
        vkey.unwrap().split('+').next().unwrap().to_owned()
    }

    /// A request without credentials: status and headers.
    pub(crate) async fn fetch(&self, path: &str) -> (u16, HeaderMap) {
        let uri = format!("{}{path}", self.endpoint).parse().unwrap();
        let response = self.client.get(uri).await.unwrap();
        let (parts, body) = response.into_parts();
        body.collect().await.unwrap();
        (parts.status.as_u16(), parts.headers)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) async fn stop(self) {
        self.end().await;
    }

    /// Another life of the same deployment.
    pub(crate) async fn restart(self) -> Self {
        let directory = self.end().await;
        Self::start_in(directory, |dir| Arc::new(LocalFiles::new(dir)), |_| {}).await
    }

    async fn end(self) -> tempfile::TempDir {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        self.app.stop().unwrap();
        self.directory
    }
}
