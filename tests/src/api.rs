//! The gRPC service as a client sees it: the generated clients over one channel.

use std::{net::SocketAddr, time::Duration};

use calbridge_proto::v1::{
    Booking, Delivery, GetBookingRequest, GetDeliveryRequest, GetTimelineRequest, ListBookingsRequest,
    ListDeliveriesRequest, TimelineEntry, booking_service_client::BookingServiceClient,
    delivery_service_client::DeliveryServiceClient, ingest_service_client::IngestServiceClient,
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// Above the largest page of deliveries a test asks for.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// A call that takes longer has hung.
const CALL: Duration = Duration::from_secs(20);
/// The greatest page of the API.
const PAGE: i32 = 1000;

/// One connection to the service. It reconnects by itself.
#[derive(Debug, Clone)]
pub struct Api {
    channel: Channel,
}

impl Api {
    /// Nothing is sent before the first call.
    #[must_use]
    pub fn new(service: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{service}")).unwrap();
        Self { channel: endpoint.timeout(CALL).connect_lazy() }
    }

    /// The connection, for clients that are not below.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// `IngestService`.
    #[must_use]
    pub fn ingest(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.channel.clone())
    }

    /// `BookingService`.
    #[must_use]
    pub fn bookings(&self) -> BookingServiceClient<Channel> {
        BookingServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// `DeliveryService`.
    #[must_use]
    pub fn deliveries(&self) -> DeliveryServiceClient<Channel> {
        DeliveryServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// One booking; nothing where it is not known.
    pub async fn booking(&self, tenant: &str, uid: &str) -> Option<Booking> {
        let request = GetBookingRequest { tenant: tenant.to_owned(), uid: uid.to_owned(), ..Default::default() };
        found(self.bookings().get_booking(request).await.map(tonic::Response::into_inner))
            .and_then(|found| found.booking)
    }

    /// All bookings of a tenant, however many pages.
    pub async fn all_bookings(&self, tenant: &str) -> Vec<Booking> {
        let mut all = Vec::new();
        let mut request =
            ListBookingsRequest { tenant: tenant.to_owned(), page_size: PAGE, ..ListBookingsRequest::default() };
        loop {
            let page = self.bookings().list_bookings(request.clone()).await.unwrap().into_inner();
            all.extend(page.bookings);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// A booking's timeline, however many pages.
    pub async fn timeline(&self, tenant: &str, uid: &str) -> Vec<TimelineEntry> {
        let mut all = Vec::new();
        let mut request = GetTimelineRequest {
            tenant: tenant.to_owned(),
            uid: uid.to_owned(),
            page_size: PAGE,
            ..GetTimelineRequest::default()
        };
        loop {
            let page = self.bookings().get_timeline(request.clone()).await;
            let Some(page) = found(page.map(tonic::Response::into_inner)) else { return all };
            all.extend(page.entries);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// All deliveries of a tenant, newest first, however many pages.
    pub async fn all_deliveries(&self, tenant: &str) -> Vec<Delivery> {
        let mut all = Vec::new();
        let mut request =
            ListDeliveriesRequest { tenant: tenant.to_owned(), page_size: PAGE, ..ListDeliveriesRequest::default() };
        loop {
            let page = self.deliveries().list_deliveries(request.clone()).await.unwrap().into_inner();
            all.extend(page.deliveries);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// One delivery with its raw body.
    pub async fn delivery(&self, tenant: &str, delivery_id: &str) -> Option<Delivery> {
        let request = GetDeliveryRequest {
            tenant: tenant.to_owned(),
            delivery_id: delivery_id.to_owned(),
            include_raw_body: true,
        };
        found(self.deliveries().get_delivery(request).await.map(tonic::Response::into_inner))
            .and_then(|found| found.delivery)
    }
}

/// `NOT_FOUND` is an answer; every other error fails the test.
fn found<T>(answer: Result<T, Status>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => panic!("the service answered {status:?}"),
    }
}
