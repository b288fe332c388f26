use calbridge_process::Secret;

use super::*;

fn rotation(address: &str, insecure_unsigned: bool) -> Rotation {
    let tenant = Tenant { secrets: vec![Secret::always("id", "value")], allow_unsigned: false };
    let tenants = BTreeMap::from([("acme".to_owned(), tenant)]);
    let files = TenantFiles { config: None, environment: Arc::new(|_| None) };
    Rotation {
        keys: Arc::new(Keys::new(&tenants)),
        tenants,
        reload: Some(Reload { files, insecure_unsigned }),
        address: address.parse().unwrap(),
        moment: Moment::now,
        metrics: Arc::new(Metrics::new()),
    }
}

#[test]
fn a_reload_lets_nobody_in_unsigned_from_other_machines() {
    let open = BTreeMap::from([("open".to_owned(), Tenant { secrets: Vec::new(), allow_unsigned: true })]);
    for (address, insists, taken) in
        [("0.0.0.0:1", false, false), ("[::]:1", false, false), ("0.0.0.0:1", true, true), ("127.0.0.1:1", false, true)]
    {
        let mut rotation = rotation(address, insists);
        let held_before = rotation.keys.ring();
        rotation.take(open.clone());
        assert_eq!(rotation.keys.ring().knows("open"), taken, "{address}");
        assert_eq!(rotation.keys.ring().knows("acme"), !taken, "{address}");
        assert_eq!(rotation.tenants.contains_key("acme"), !taken, "{address}");
        assert!(held_before.knows("acme"), "who has begun keeps what it began with");
    }
}
