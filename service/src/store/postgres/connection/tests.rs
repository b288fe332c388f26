use super::*;

fn refused(url: &str) -> String {
    Address::read(url).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn tls_is_needed_beyond_this_machine_unless_it_is_declined() {
    for (url, tls) in [
        ("postgres://u@localhost/d", false),
        ("postgres://u@127.0.0.1:5433/d", false),
        ("postgres://u@[::1]/d", false),
        ("postgres://u@%2Fvar%2Frun%2Fpostgresql/d", false),
        ("postgres://u@db.internal/d", true),
        ("postgres://u@10.0.0.7/d", true),
        ("postgres://u@localhost,db.internal/d", true),
        ("postgres://u@db.internal/d?sslmode=disable", false),
        ("postgres://u@localhost/d?sslmode=verify-full&connect_timeout=3", true),
        ("postgresql://u@localhost/d?sslmode=require", true),
    ] {
        assert_eq!(Address::read(url).unwrap().said.is_some(), tls, "{url}");
    }
}

#[test]
fn what_is_no_address_is_refused_without_being_repeated() {
    for url in [
        "postgres://u:hunter2@localhost:nowhere/d",
        "postgres://u:p@hunter2@localhost/d",
        "postgres://u:p@hunter2@localhost,db.internal/d?sslmode=disable",
        "postgres://u:hunter2@localhost/d?sslmode=prefer",
        "postgres://u:hunter2@localhost/d?hunter2=1",
        "postgres://u:hunter2@localhost/d?sslmode=verify-full&sslrootcert=%41",
        "postgres://u:hunter2@localhost/d?sslmode=verify-full&sslrootcert=/is/not/there",
        "postgres://u:hunter2@localhost/d?sslmode=verify-full&sslcert=/is/not/there",
        "postgres:///d",
        "postgres://u:hunter2@localhost,localhost,localhost,localhost,localhost/d",
    ] {
        let why = refused(url);
        assert!(why.starts_with("--database-url"), "{url}: {why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
    assert!(refused("postgres://u@h/d?sslrootcert=%2Fis%2Fnot%2Fthere").contains("/is/not/there"));
}

#[test]
fn what_telemetry_says_of_the_place_holds_no_password() {
    let address = Address::read("postgres://u:hunter2@db.internal:6000/bookings?sslmode=disable").unwrap();
    assert_eq!((address.database(), address.server()), ("bookings", ("db.internal".to_owned(), 6000)));
    assert_eq!(Address::read("postgres://u@localhost").unwrap().server().1, 5432);
    let shown = format!("{:?}", address.connections(Role::Reader, 1).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}
