use super::*;

fn gpu(ports: &[u16]) -> Value {
    let urls: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    // Without a health check every host counts as healthy.
    json!({"id": "gpu", "kind": "openai", "base_urls": urls})
}

#[test]
fn hosts_then_variants_then_fallbacks() {
    let setup = setup();
    let fleet = setup.fleet(
        json!([
            gpu(&[1, 2, 3]),
            {"id": "cloud", "kind": "openai", "base_urls": ["http://127.0.0.1:10"]},
            {"id": "far", "kind": "openai", "base_urls": ["http://127.0.0.1:11"]},
        ]),
        json!([{
            "name": "m",
            "targets": [
                {"id": "base", "provider": "gpu", "weight": 1},
                {"id": "lora", "provider": "gpu", "model": "m-lora", "weight": 0},
            ],
            "fallback": [{"provider": "cloud", "model": "c"}, {"provider": "far", "model": "f"}],
            "max_attempts": 10,
        }]),
    );
    for seed in 0..50 {
        let tried = order(&fleet, "m", &Want { seed, ..want() }, SERVER_ERROR, S);
        let variants: Vec<&str> = tried.iter().map(|t| t.split(':').next().expect("id")).collect();
        assert_eq!(variants[..6], ["base", "base", "base", "lora", "lora", "lora"], "{tried:?}");
        let ends: Vec<&str> = tried.iter().map(|t| t.rsplit(':').next().expect("port")).collect();
        assert_eq!(ends[6..], ["10", "11"], "{tried:?}");
        let mut hosts = ends[..3].to_vec();
        hosts.sort_unstable();
        assert_eq!(hosts, ["1", "2", "3"]);
        // What a breaker learnt must not carry over to the next seed.
        setup.adopt(&config(json!([]), json!([])));
        if seed < 49 {
            return;
        }
    }
}
