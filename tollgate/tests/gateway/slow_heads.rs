//! Clients that never finish their request's head: Pingora waits 60 s for each piece and has no deadline for the whole. What bounds
//! them is that they hold a connection and nothing else.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tollgate_fake_upstream::Script;

use crate::harness::{ONE_UPSTREAM, chat, client, in_front_of_fake};

#[tokio::test(flavor = "multi_thread")]
async fn a_trickled_head_holds_no_request_place() {
    // Room for one request only: a head that took it would lock everybody out.
    let (fake, gateway) = in_front_of_fake(&format!("{ONE_UPSTREAM}bounds: {{max_requests: 1}}\n"));
    fake.script("m", Script::says(["served"]));
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = TcpStream::connect(gateway.listen).await.expect("connected");
        connection.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-").await.expect("written");
        slow.push(connection);
    }
    for piece in [b"a", b"b", b"c"] {
        for connection in &mut slow {
            connection.write_all(piece).await.expect("still open");
        }
        assert_eq!(gateway.metric("tollgate_requests_in_flight", ""), 0.0);
        let call = client().post(gateway.url("/v1/chat/completions")).json(&chat("m", "Hi", false));
        assert_eq!(call.send().await.expect("answered").status(), 200);
    }
}
