//! Proxies between the server and its API server, as kubectl has them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::{fs, io};

use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{eventually, shared, testbed};

/// A proxy for HTTP CONNECT and SOCKS 5 that demands `me:p@ss` and leads to one address, whatever name it is asked for.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// What was asked for, and the status.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) async fn start(destination: String) -> Self {
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

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn tunnel(stream: TcpStream, destination: &str, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let is_socks = stream.fill_buf().await?.first() == Some(&5);
    let answered = if is_socks { socks(&mut stream).await? } else { http(&mut stream).await? };
    let Some((asked, is_allowed)) = answered else { return Ok(()) };
    seen.lock().unwrap().push(asked);
    if is_allowed {
        copy_bidirectional(&mut stream, &mut TcpStream::connect(destination).await?).await?;
    }
    Ok(())
}

/// Answers HTTP CONNECT. Returns what was asked for, and whether it is allowed.
async fn http(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, bool)>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let is_allowed = head.to_lowercase().contains("proxy-authorization: basic bwu6cebzcw==\r\n");
    let status = if is_allowed { "200 OK" } else { "407 Proxy Authentication Required" };
    stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await?;
    Ok(Some((format!("{} {status}", head.lines().next().unwrap()), is_allowed)))
}

/// The same for SOCKS 5 (RFC 1928 and 1929), for a name and with a password.
async fn socks(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, bool)>> {
    let (_version, methods) = (stream.read_u8().await?, text(stream).await?);
    assert!(methods.contains('\u{2}'), "the client offers a password");
    stream.write_all(&[5, 2]).await?;
    let (_version, user, password) = (stream.read_u8().await?, text(stream).await?, text(stream).await?);
    assert_eq!((user.as_str(), password.as_str()), ("me", "p@ss"));
    stream.write_all(&[1, 0]).await?;
    let mut connect_by_name = [0; 4];
    stream.read_exact(&mut connect_by_name).await?;
    assert_eq!(connect_by_name, [5, 1, 0, 3]);
    let asked = format!("SOCKS {}:{}", text(stream).await?, stream.read_u16().await?);
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(Some((asked, true)))
}

/// Reads a text after its length.
async fn text(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut text = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8(text).unwrap())
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
    for (protocol, is_in_environment) in [("http", true), ("http", false), ("socks5", true)] {
        let proxy = proxy(control_plane).await;
        let url = format!("{protocol}://me:p%40ss@{}", proxy.address);
        let (options, port) = if is_in_environment {
            let (options, port) = options(control_plane, None).await;
            (options.variable("HTTPS_PROXY", &url).variable("NO_PROXY", "10.0.0.0/8,.example.com,"), port)
        } else {
            options(control_plane, Some(url)).await
        };
        let mut manager = Manager::start(&options).await.unwrap();
        manager.wait_ready().await.unwrap();
        assert_eq!(manager.get("/healthz").await.unwrap().0, 200);
        let expected = match protocol {
            "http" => format!("CONNECT {NAME}:{port} HTTP/1.1 200 OK"),
            _ => format!("SOCKS {NAME}:{port}"),
        };
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
