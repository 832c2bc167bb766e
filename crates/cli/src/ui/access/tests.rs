use axum::http::HeaderValue;

use super::*;

const HOST: &str = "127.0.0.1:8123";

fn access() -> Access {
    Access::new(8123, Secret("right".to_owned()), Secret("ticket".to_owned()))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[track_caller]
fn check(part: Part, method: &Method, pairs: &[(&'static str, &str)], expected: Result<(), Refusal>) {
    assert_eq!(access().check(part, method, &headers(pairs)), expected, "{part:?} {method} {pairs:?}");
}

#[test]
fn a_call_needs_host_origin_and_token() {
    let [host, origin] = [("host", HOST), ("origin", "http://127.0.0.1:8123")];
    let [token, site] = [("authorization", "Bearer right"), ("sec-fetch-site", "same-origin")];
    let check = |pairs: &[_], expected| check(Part::Api, &Method::POST, pairs, expected);
    check(&[host, origin, token, site], Ok(()));
    check(&[host, origin, token], Ok(()));
    check(&[("host", "localhost:8123"), ("origin", "http://localhost:8123"), token], Ok(()));
    for host in ["127.0.0.1", "127.0.0.1:8124", "evil.example:8123", "127.0.0.1:8123.evil.example", ""] {
        check(&[("host", host), origin, token, site], Err(Refusal::Host));
    }
    check(&[origin, token], Err(Refusal::Host));
    check(&[host, ("host", "evil.example"), origin, token], Err(Refusal::Host));
    for origin in ["null", "https://127.0.0.1:8123", "http://localhost:8123", "http://evil.example", ""] {
        check(&[host, ("origin", origin), token, site], Err(Refusal::Origin));
    }
    check(&[host, token], Err(Refusal::Origin));
    check(&[host, origin, ("origin", "http://evil.example"), token], Err(Refusal::Origin));
    for site in ["cross-site", "same-site", "none"] {
        check(&[host, origin, token, ("sec-fetch-site", site)], Err(Refusal::Origin));
    }
    for token in ["Bearer wrong", "Bearer righ", "Bearer right2", "Bearer ", "right", ""] {
        check(&[host, origin, ("authorization", token)], Err(Refusal::Token));
    }
    check(&[host, origin], Err(Refusal::Token));
}

#[test]
fn files_are_for_the_page_only() {
    let check = |part, pairs: &[_], expected| check(part, &Method::GET, pairs, expected);
    let cross = ("sec-fetch-site", "cross-site");
    check(Part::File, &[("host", HOST), ("sec-fetch-site", "same-origin")], Ok(()));
    check(Part::File, &[("host", HOST), cross], Err(Refusal::Origin));
    check(Part::File, &[("host", "evil.example:8123")], Err(Refusal::Host));
    // A link to the page may be anywhere.
    check(Part::Page, &[("host", HOST), cross], Ok(()));
    check(Part::Page, &[("host", "evil.example:8123")], Err(Refusal::Host));
}

#[test]
fn the_token_opens_the_page_always_and_a_ticket_once() {
    let access = access();
    let open = |path: &str| access.open(&path.parse().unwrap());
    assert_eq!(open("/?token=right"), Ok(Opened::Page));
    for path in ["/", "/?token=wrong", "/?token=", "/?token=ticket", "/?ticket=right", "/?ticket="] {
        assert_eq!(open(path), Err(Refusal::Token), "{path}");
    }
    assert_eq!(open("/?ticket=ticket"), Ok(Opened::Ticket));
    assert_eq!(open("/?ticket=ticket"), Err(Refusal::Token));
    assert_eq!(open(&access.path()), Ok(Opened::Page));
}

#[test]
fn secrets_differ_and_do_not_show() {
    let [one, other] = [Secret::new().unwrap(), Secret::new().unwrap()];
    assert_ne!(one.text(), other.text());
    assert_eq!(one.text().len(), 2 * SECRET_BYTES);
    assert!(!format!("{one:?}").contains(one.text()));
}
