//! Reading bookings.

use std::sync::Arc;

use calbridge_proto::v1::{
    self, GetBookingRequest, GetBookingResponse, GetTimelineRequest, GetTimelineResponse, ListBookingsRequest,
    ListBookingsResponse, booking_service_server::BookingService,
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api,
    errors::ApiError,
    named, no_filter,
    page::{self, List},
    read, tenant,
};
use crate::store::{BookingCursor, BookingOrder, BookingQuery, Position, Store, time::micros};

#[async_trait]
impl<S: Store> BookingService for Api<S> {
    async fn get_booking(&self, request: Request<GetBookingRequest>) -> Result<Response<GetBookingResponse>, Status> {
        let GetBookingRequest { tenant: whose, uid } = request.into_inner();
        tenant(&whose)?;
        named(&uid, "uid")?;
        let booking = read(self.store.booking(&whose, &uid)).await?;
        let booking = booking.ok_or(ApiError::BookingNotFound { uid })?;
        Ok(Response::new(GetBookingResponse { booking: Some(booking) }))
    }

    async fn list_bookings(
        &self,
        request: Request<ListBookingsRequest>,
    ) -> Result<Response<ListBookingsResponse>, Status> {
        let request = request.into_inner();
        tenant(&request.tenant)?;
        no_filter(&request.filter)?;
        let size = page::size(request.page_size)?;
        let (order, descending) = order(&request.order_by)?;
        let choices = [name(order), if descending { "desc" } else { "" }];
        let pages = List { method: "ListBookings", tenant: &request.tenant, choices: &choices };
        let after = pages.cursor(&request.page_token)?;
        let whose = Arc::from(request.tenant.as_str());
        let query = BookingQuery { tenant: whose, order, descending, after, limit: size + 1 };
        let mut bookings = read(self.store.bookings(query)).await?;
        let more = page::cut(&mut bookings, size, page::encoded);
        let next_page_token = match bookings.last() {
            Some(last) if more => pages.token_behind(&cursor(last, order)),
            _ => String::new(),
        };
        Ok(Response::new(ListBookingsResponse { bookings, next_page_token }))
    }

    async fn get_timeline(
        &self,
        request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        let request = request.into_inner();
        tenant(&request.tenant)?;
        named(&request.uid, "uid")?;
        let size = page::size(request.page_size)?;
        let pages = List { method: "GetTimeline", tenant: &request.tenant, choices: &[&request.uid] };
        let after = pages.position(&request.page_token)?.unwrap_or(Position(0));
        let mut found = read(self.store.timeline(&request.tenant, &request.uid, after, size + 1)).await?;
        let more = page::cut(&mut found, size, |(_, entry)| page::encoded(entry));
        let next_page_token = match found.last() {
            Some((last, _)) if more => pages.token_at(*last),
            _ => String::new(),
        };
        let entries = found.into_iter().map(|(_, entry)| entry).collect();
        Ok(Response::new(GetTimelineResponse { entries, next_page_token }))
    }
}

/// `start_time` or `update_time`, either with `desc` behind it; nothing means `start_time`.
fn order(order_by: &str) -> Result<(BookingOrder, bool), ApiError> {
    let mut words = order_by.split_ascii_whitespace();
    let order = match words.next() {
        None | Some("start_time") => BookingOrder::StartTime,
        Some("update_time") => BookingOrder::UpdateTime,
        Some(_) => return Err(UNKNOWN_ORDER),
    };
    match (words.next(), words.next()) {
        (None, _) => Ok((order, false)),
        (Some("desc"), None) => Ok((order, true)),
        _ => Err(UNKNOWN_ORDER),
    }
}

const UNKNOWN_ORDER: ApiError =
    ApiError::InvalidField { field: "order_by", why: "must be start_time or update_time, with or without desc" };

fn name(order: BookingOrder) -> &'static str {
    match order {
        BookingOrder::StartTime => "start_time",
        BookingOrder::UpdateTime => "update_time",
    }
}

fn cursor(booking: &v1::Booking, order: BookingOrder) -> BookingCursor {
    let time = match order {
        BookingOrder::StartTime => booking.start_time.as_ref(),
        BookingOrder::UpdateTime => booking.update_time.as_ref(),
    };
    BookingCursor { time: time.map_or(i64::MIN, micros), uid: booking.uid.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_time_and_a_direction() {
        for (text, expected) in [
            ("", (BookingOrder::StartTime, false)),
            ("start_time", (BookingOrder::StartTime, false)),
            (" start_time  desc ", (BookingOrder::StartTime, true)),
            ("update_time", (BookingOrder::UpdateTime, false)),
            ("update_time desc", (BookingOrder::UpdateTime, true)),
        ] {
            assert_eq!(order(text).unwrap(), expected, "{text:?}");
        }
        for text in ["title", "desc", "start_time asc", "start_time desc desc", "start_time,update_time", "Start_Time"]
        {
            assert_eq!(order(text), Err(UNKNOWN_ORDER), "{text:?}");
        }
    }
}
