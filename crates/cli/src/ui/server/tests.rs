use axum::http::HeaderMap;
use http_body_util::BodyExt as _;
use replica_count_client::{Address, Credentials, Endpoint};
use tower::ServiceExt as _;

use super::*;
use crate::ui::access::Secret;

/// A site whose server cannot be reached, and its token.
fn site() -> (Router, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let pem = certificate.as_bytes();
    let credentials = Credentials::from_pem(pem, pem, key.serialize_pem().as_bytes()).unwrap();
    let address: Address = "127.0.0.1:1".parse().unwrap();
    let connection = Endpoint::new(&address, &credentials, None).unwrap().connect_lazy();
    let token = Secret::new().unwrap();
    let about = About {
        version: "1.2.3",
        server: address.to_string(),
        user: "alice".to_owned(),
        namespace: String::new(),
        own_namespace: "default".to_owned(),
    };
    let access = Access::new(8123, token.clone(), Secret::new().unwrap());
    (router(Site { access, connection, about }), token.text().to_owned())
}

async fn send(
    router: &Router,
    method: Method,
    path: &str,
    token: &str,
    body: &str,
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(&method).uri(path).header("host", "127.0.0.1:8123");
    if method == Method::POST {
        request = request
            .header("origin", "http://127.0.0.1:8123")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"));
    }
    let response = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_page_is_protected_by_its_headers() {
    let (router, token) = site();
    let page = format!("/?token={token}");
    for (path, status) in
        [(&*page, 200), ("/page.js", 200), ("/page.css", 200), ("/no-such", 404), ("/", 403)]
    {
        let (answered, headers, _) = send(&router, Method::GET, path, "", "").await;
        assert_eq!(answered.as_u16(), status, "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn calls_are_posts_of_json_with_a_bounded_body() {
    let (router, token) = site();
    let post = async |path: &str, body: &str| send(&router, Method::POST, path, &token, body).await;
    let (status, _, body) = post("/api/about", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#""user":"alice""#) && body.contains(r#""ownNamespace":"default""#), "{body}");
    assert_eq!(post("/api/no-such", "{}").await.0, StatusCode::NOT_FOUND);
    assert_eq!(post("/api/set", &"x".repeat(MAX_BODY + 1)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(&router, Method::POST, "/page.js", &token, "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _, body) = post("/api/set", r#"{"replicas": "3"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("the request is not valid: "), "{body}");
}

#[tokio::test]
async fn attacks_are_forbidden() {
    let (router, token) = site();
    for (token, expected) in
        [(&*token, StatusCode::OK), ("wrong", StatusCode::FORBIDDEN), ("", StatusCode::FORBIDDEN)]
    {
        assert_eq!(send(&router, Method::POST, "/api/about", token, "{}").await.0, expected);
    }
    let request = Request::post("/api/about")
        .header("host", "127.0.0.1:8123")
        .header("origin", "http://evil.example")
        .header("authorization", format!("Bearer {token}"));
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_unreachable_server_is_a_failure_with_its_cause() {
    let (router, token) = site();
    let target = r#"{"namespace": "shop", "name": "web", "kind": "Deployment"}"#;
    let (status, _, body) = send(&router, Method::POST, "/api/target", &token, target).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains("the server cannot be reached: "), "{body}");
}
