use super::*;

fn told(url: &str, release: u32) -> Result<Vec<(&'static str, String)>, MaintainError> {
    let address = Address::read(url).unwrap();
    let pg_dump = PgDump { path: "/usr/bin/pg_dump".into(), release };
    let variables = environment(&address, &pg_dump)?;
    Ok(variables.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect())
}

fn said<'v>(variables: &'v [(&str, String)], name: &str) -> Option<&'v str> {
    variables.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str())
}

#[test]
fn libpq_is_told_what_the_url_says() {
    let url = "postgres://ann:p%40ss@127.0.0.1:6543/books?options=-c%20search_path%3Dcal";
    let variables = told(url, 15).unwrap();
    let wanted = [
        ("PGHOST", Some("127.0.0.1")),
        ("PGPORT", Some("6543")),
        ("PGUSER", Some("ann")),
        ("PGPASSWORD", Some("p@ss")),
        ("PGDATABASE", Some("books")),
        ("PGOPTIONS", Some("-c search_path=cal")),
        ("PGSSLMODE", Some("disable")),
        ("PGSSLROOTCERT", None),
    ];
    for (name, value) in wanted {
        assert_eq!(said(&variables, name), value, "{name}");
    }
    let variables = told("postgres://ann@localhost", 15).unwrap();
    assert_eq!(said(&variables, "PGDATABASE"), Some("ann"), "as the server would choose");
    assert_eq!(said(&variables, "PGPASSWORD"), None);
    assert_eq!(said(&variables, "PGPORT"), Some("5432"));
}

#[test]
fn a_far_server_is_spoken_to_as_carefully_as_by_the_service() {
    let variables = told("postgres://ann@db.example/books", 16).unwrap();
    assert_eq!(said(&variables, "PGSSLMODE"), Some("verify-full"));
    assert_eq!(said(&variables, "PGSSLROOTCERT"), Some("system"));
    let refused = told("postgres://ann:secret@db.example/books", 15).unwrap_err().to_string();
    assert!(refused.contains("sslrootcert=FILE") && !refused.contains("secret"), "{refused}");
}
