//! A service on the log, over TLS and by its token: with the scopes that it needs, and without one of them.

use std::path::Path;

use calbridge_e2e::{
    authority::text,
    program::{Program, Start},
    system::TENANT,
    v1::{
        Consumer, GetConsumerRequest, SubmitEventRequest, consumer_service_client::ConsumerServiceClient,
        ingest_service_client::IngestServiceClient,
    },
    wait,
};
use tonic::transport::Channel;

use super::{House, Who, event, over_tls, principals, token_of, with};

const OUTREACH: &str = "outreach";

fn outreach(house: &House, service: &Program, who: &str, database: &Path) -> Start {
    Start::new(OUTREACH)
        .flag("--service", format!("https://{}", service.listening().grpc()))
        .flag("--service-ca", text(&house.authority.file()))
        .flag("--service-token-file", house.file(who, &format!("{}\n", token_of(who))))
        .flag("--consumer", who)
        .flag("--database", database)
}

async fn consumer(channel: &Channel, name: &str) -> Option<Consumer> {
    let request = GetConsumerRequest { tenant: TENANT.to_owned(), name: name.to_owned() };
    let answer =
        ConsumerServiceClient::new(channel.clone()).get_consumer(with(Some(&token_of("sales")), request)).await;
    answer.ok()?.into_inner().consumer
}

fn contacts(database: &Path) -> i64 {
    let database = rusqlite::Connection::open(database).unwrap();
    database.query_row("SELECT count(*) FROM contacts WHERE status = 'CONVERTED'", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn it_makes_contacts_where_it_sees_addresses_and_waits_where_it_does_not() {
    let edge = Who::new("edge", &["ingest"], &["*"]);
    let sales = Who::new("sales", &["consume", "read.pii"], &[TENANT]);
    let blind = Who::new("blind", &["consume"], &[TENANT]);
    let house = House::new(&principals(&[edge, sales, blind]));
    let mut service = house.secured_service().serve();
    let channel = over_tls(service.listening().grpc(), &house.authority, None).await.unwrap();
    let mut event = event(TENANT, "u1");
    // That of the golden booking names a contact of somebody else's.
    if let Some(calbridge_e2e::v1::booking_event::Payload::Booking(booking)) = &mut event.payload {
        booking.metadata.clear();
    }
    let request = with(Some(&token_of("edge")), SubmitEventRequest { event: Some(event) });
    IngestServiceClient::new(channel.clone()).submit_event(request).await.unwrap();

    let database = house.path("sales.db");
    let mut running = outreach(&house, &service, "sales", &database).spawn();
    wait::until("it is settled", || async {
        let consumer = consumer(&channel, "sales").await?;
        (database.is_file() && contacts(&database) == 1 && consumer.in_flight == 0).then_some(())
    })
    .await;
    running.stop().await;
    assert!(!running.stderr().contains(&token_of("sales")), "{}", running.stderr());

    let database = house.path("blind.db");
    let mut running = outreach(&house, &service, "blind", &database).spawn();
    wait::until("it waits for another token", || async {
        let consumer = consumer(&channel, "blind").await?;
        (consumer.waiting > 0 && consumer.in_flight == 0).then_some(())
    })
    .await;
    let consumer = consumer(&channel, "blind").await.unwrap();
    assert_eq!((consumer.dead_letters, contacts(&database)), (0, 0), "nothing is given up, and nobody is made up");
    running.stop().await;

    let clear = format!("http://cal.example:{}", service.listening().grpc().port());
    let start = Start::new(OUTREACH).flag("--service", clear).flag("--database", &database);
    let refused = start.flag("--service-token-file", house.path("blind")).run().await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("would travel in the clear"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(&token_of("blind")), "{}", refused.stderr);
    service.stop().await;
}
