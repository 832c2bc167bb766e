//! Proxies between the server and its API server, as kubectl has them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::{fs, io};

use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{eventually, shared, testbed};

/// A proxy that demands `me:p@ss` and leads to one address, whatever name it is asked for.
struct Proxy {
    address: SocketAddr,
    /// The first line of each request, and its status.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(destination: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&this.seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, destination) = (Arc::clone(&seen), destination.clone());
                tokio::spawn(async move { tunnel(stream, &destination, &seen).await });
            }
        });
        this
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn tunnel(stream: TcpStream, destination: &str, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let is_allowed = head.to_lowercase().contains("proxy-authorization: basic bwu6cebzcw==\r\n");
    let status = if is_allowed { "200 OK" } else { "407 Proxy Authentication Required" };
    let line = head.lines().next().unwrap();
    seen.lock().unwrap().push(format!("{line} {status}"));
    stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await?;
    if is_allowed {
        copy_bidirectional(&mut stream, &mut TcpStream::connect(destination).await?).await?;
    }
    Ok(())
}

/// A name in the certificate of the API server that no name server knows.
const NAME: &str = "kubernetes.default.svc";

/// The options of a server that knows its API server by that name, and the port of it.
async fn options(control_plane: &ControlPlane, proxy_url: Option<String>) -> (manager::Options, String) {
    let port = control_plane.url().rsplit(':').next().unwrap().to_owned();
    let url = format!("https://{NAME}:{port}");
    let kubeconfig = control_plane.manager_kubeconfig_at(&url, &Scope::Cluster).await.unwrap();
    let folder = control_plane.folder("proxied").unwrap();
    let mut config: Value = serde_json::from_str(&fs::read_to_string(kubeconfig).unwrap()).unwrap();
    if let Some(proxy_url) = proxy_url {
        config["clusters"][0]["cluster"]["proxy-url"] = proxy_url.into();
    }
    let path = folder.join("kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    (manager::Options::new(testbed(), &path, &folder).unwrap(), port)
}

async fn proxy(control_plane: &ControlPlane) -> Proxy {
    Proxy::start(control_plane.url().trim_start_matches("https://").to_owned()).await
}

#[tokio::test]
async fn the_proxy_of_the_environment_or_of_the_kubeconfig_is_used() {
    let control_plane = shared().await;
    for is_in_environment in [true, false] {
        let proxy = proxy(control_plane).await;
        let url = format!("http://me:p%40ss@{}", proxy.address);
        let (options, port) = if is_in_environment {
            let (options, port) = options(control_plane, None).await;
            (options.variable("HTTPS_PROXY", &url).variable("NO_PROXY", "10.0.0.0/8,.example.com,"), port)
        } else {
            options(control_plane, Some(url)).await
        };
        let mut manager = Manager::start(&options).await.unwrap();
        manager.wait_ready().await.unwrap();
        assert_eq!(manager.get("/healthz").await.unwrap().0, 200);
        let expected = format!("CONNECT {NAME}:{port} HTTP/1.1 200 OK");
        let seen = proxy.seen();
        assert!(!seen.is_empty() && seen.iter().all(|line| *line == expected), "{seen:?}");
        let log = manager.log().join("\n");
        assert!(!log.contains("p%40ss") && !log.contains("p@ss"), "{log}");
    }
}

#[tokio::test]
async fn an_excluded_name_is_reached_directly() {
    let control_plane = shared().await;
    let proxy = proxy(control_plane).await;
    let (options, _port) = options(control_plane, None).await;
    let options = options
        .variable("HTTPS_PROXY", format!("http://{}", proxy.address))
        .variable("NO_PROXY", "foo,.svc,");
    let manager = Manager::start(&options).await.unwrap();
    // Only the proxy knows the name.
    eventually("/healthz tells it", async || match manager.get("/healthz").await.unwrap() {
        (503, body) if body.starts_with("dns: ") || body.starts_with("timeout: ") => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told() {
    let control_plane = shared().await;
    let proxy = proxy(control_plane).await;
    let (options, _port) = options(control_plane, Some(format!("http://{}", proxy.address))).await;
    let manager = Manager::start(&options).await.unwrap();
    eventually("/healthz tells it", async || match manager.get("/healthz").await.unwrap() {
        (503, body) if body.starts_with("proxy: ") => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(proxy.seen().iter().all(|line| line.ends_with("407 Proxy Authentication Required")));
    let log = manager.log().join("\n");
    assert!(log.contains("proxy authorization required"), "{log}");
}
