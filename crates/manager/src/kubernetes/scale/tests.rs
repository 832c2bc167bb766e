use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use http::{Request, Response};
use kube::client::Body;
use replica_count_core::failures::WRITE_DEADLINES;
use replica_count_core::replicas::Replicas;
use serde_json::json;

use super::*;

fn repair(method: Method) -> Repair {
    let count = |n| Replicas::new(n).expect("valid");
    Repair {
        uid: "u".into(),
        from: count(5),
        to: count(3),
        generation: 1,
        drift: None,
        method,
        deadline: WRITE_DEADLINES[0],
    }
}

fn target() -> Target {
    Target::deployment("shop", "web").expect("valid")
}

/// Writes with the answers of a mock.
fn scales(answer: impl Fn() -> io::Result<Response<Body>> + Send + Sync + 'static) -> Scales {
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |_: Request<Body>| std::future::ready(answer()));
    Scales::new(Client::new(service, "default"), Leadership::default())
}

fn answer(status: u16, body: &serde_json::Value) -> Response<Body> {
    let body = Body::from(body.to_string().into_bytes());
    Response::builder().status(status).body(body).expect("valid")
}

#[tokio::test]
async fn a_patch_may_follow_an_update_and_a_refused_one_is_not_tried_again() {
    let update = Method::Update { version: NonZeroU64::new(7).expect("positive") };
    let no_right = "User \"x\" cannot update resource \"deployments/scale\"";
    for (status, message, leaves_a_patch, next) in [
        (409, "the object has been modified", true, update),
        (415, "the body of the request was in an unknown format", true, Method::Patch),
        (403, no_right, true, Method::Patch),
        (403, "admission webhook \"hook\" denied the request: no", false, update),
    ] {
        let refused = json!({ "message": message, "reason": "Conflict" });
        let scales = scales(move || Ok(answer(status, &refused)));
        let error = scales.write(&target(), &repair(update)).await.expect_err("it was refused");
        assert_eq!(error.leaves_a_patch(), leaves_a_patch, "{message}");
        assert_eq!(scales.available(update), next, "{message}");
    }
}

#[tokio::test]
async fn clients_learn_no_addresses_and_no_text_of_others() {
    let check = async |answer: fn() -> io::Result<Response<Body>>, expected: &str| match scales(answer)
        .write(&target(), &repair(Method::Patch))
        .await
    {
        Err(NotWritten::Failed(error)) => assert_eq!(error.message, expected),
        other => panic!("{other:?}"),
    };
    check(
        || Ok(Response::new(Body::from(b"<p>10.0.0.7</p>".to_vec()))),
        "the answer is not a Scale; see the log",
    )
    .await;
    check(
        || Err(io::Error::new(io::ErrorKind::ConnectionRefused, "10.0.0.7:6443")),
        "refused: nothing listens at the address of the API server; see the log",
    )
    .await;
}
