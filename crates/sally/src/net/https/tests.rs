//! Tests requests, answers and refusals.

use std::time::Duration;

use super::testing::{TestReply, TestServer};
use super::*;

fn soon() -> HttpsLimits {
    HttpsLimits { answer: 64, deadline: Instant::now() + Duration::from_secs(15) }
}

async fn get(server: &TestServer, limits: HttpsLimits) -> Result<HttpsResponse, HttpsError> {
    let request = Request::get(format!("https://localhost:{}/x", server.port)).body(Bytes::new()).unwrap();
    Https::new(&server.network()).unwrap().send(request, limits).await
}

#[tokio::test]
async fn method_headers_and_body_go_out_and_status_headers_and_body_come_back() {
    let head = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 5\r\n\r\nlater";
    let server = TestServer::start(|_, _| TestReply::Say(head.into())).await;
    let request = Request::patch(format!("https://localhost:{}/apps?n=1", server.port)).header("authorization", "Bearer t");
    let answer = Https::new(&server.network()).unwrap().send(request.body("{}".into()).unwrap(), soon()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(answer.body().await.unwrap(), "later");
    let request = server.requests.lock().unwrap().pop().unwrap();
    assert!(request.starts_with("PATCH /apps?n=1 HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{}"), "{request}");
    for header in [format!("host: localhost:{}\r\n", server.port), "authorization: Bearer t\r\n".into(), "user-agent: sally/".into()] {
        assert!(request.contains(&header), "{header}: {request}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let server = TestServer::start(|_, port| TestReply::moved(&format!("https://localhost:{port}/y"))).await;
    assert_eq!(get(&server, soon()).await.unwrap().status().as_u16(), 302);
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_long_or_too_late_is_none() {
    let server = TestServer::start(|_, _| TestReply::ok(&"x".repeat(65))).await;
    assert!(matches!(get(&server, soon()).await.unwrap().body().await, Err(HttpsError::TooLong(64))));
    for head in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"] {
        let server = TestServer::start(move |_, _| TestReply::Stall(head.into())).await;
        let limits = HttpsLimits { deadline: Instant::now() + Duration::from_millis(500), ..soon() };
        let late = match get(&server, limits).await {
            Ok(answer) => answer.body().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(matches!(late, Err(HttpsError::Late)), "{late:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_in_the_clear() {
    let https = Https::new(&NetworkSettings::default()).unwrap();
    let sent = https.send(Request::get("http://127.0.0.1:1/").body(Bytes::new()).unwrap(), soon()).await;
    assert_eq!(sent.map(drop).unwrap_err().to_string(), "only https:// URLs are accepted");
}
