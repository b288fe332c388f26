//! Reading bookings.

use std::sync::Arc;

use calbridge_process::Scope;
use calbridge_proto::v1::{
    self, GetBookingRequest, GetBookingResponse, GetLineageRequest, GetLineageResponse, GetTimelineRequest,
    GetTimelineResponse, ListBookingsRequest, ListBookingsResponse, WatchTransitionsRequest,
    booking_service_server::BookingService,
};
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, demand,
    errors::ApiError,
    filter, mask, named, open,
    page::{self, List},
    read, tenant,
    watch::Entries,
};
use crate::{
    settings::{MIN_POSITION_PAUSE, MIN_POSITION_WAIT},
    store::{
        BookingCursor, BookingOrder, BookingPage, BookingQuery, Condition, LINEAGE_MAX, LineagePage, Position, Store,
        time::micros,
    },
};

#[async_trait]
impl<S: Store> BookingService for Api<S> {
    async fn get_booking(&self, request: Request<GetBookingRequest>) -> Result<Response<GetBookingResponse>, Status> {
        let (caller, request) = open(request);
        let GetBookingRequest { tenant: whose, uid, min_position, follow_reschedules } = request;
        let whose = tenant(&caller, &whose)?;
        named(&uid, "uid")?;
        self.reach(&min_position).await?;
        let booking = read(self.store.booking(whose, &uid, follow_reschedules)).await?;
        let booking = booking.ok_or(ApiError::BookingNotFound { uid })?;
        Ok(Response::new(GetBookingResponse { booking: Some(mask::shown(&caller, booking)) }))
    }

    async fn list_bookings(
        &self,
        request: Request<ListBookingsRequest>,
    ) -> Result<Response<ListBookingsResponse>, Status> {
        let (caller, request) = open(request);
        let whose = Arc::from(tenant(&caller, &request.tenant)?);
        let filter = filter::parse(&request.filter)?;
        if filter.0.iter().any(is_personal) {
            demand(&caller, &[Scope::ReadPii], "a filter by address or metadata")?;
        }
        let size = page::size(request.page_size)?;
        let (order, descending) = order(&request.order_by)?;
        let choices = [name(order), if descending { "desc" } else { "" }, &format!("{filter:?}")];
        let pages = List { method: "ListBookings", tenant: &request.tenant, choices: &choices };
        let after = pages.cursor(&request.page_token)?;
        let query = BookingQuery { tenant: whose, order, descending, filter, after, limit: size + 1 };
        let BookingPage { mut bookings, mut next, damaged } = read(self.store.bookings(query)).await?;
        self.metrics.damaged(self.left_out.say(&request.tenant, &damaged));
        if page::cut(&mut bookings, size, page::encoded) {
            next = bookings.last().map(|last| cursor(last, order));
        }
        let next_page_token = next.map(|next| pages.token_behind(&next)).unwrap_or_default();
        let bookings = mask::all_shown(&caller, bookings);
        Ok(Response::new(ListBookingsResponse { bookings, next_page_token }))
    }

    async fn get_lineage(&self, request: Request<GetLineageRequest>) -> Result<Response<GetLineageResponse>, Status> {
        let (caller, GetLineageRequest { tenant: asked, uid, page_token }) = open(request);
        let whose = tenant(&caller, &asked)?;
        named(&uid, "uid")?;
        let pages = List { method: "GetLineage", tenant: &asked, choices: &[&uid] };
        // How many were shown travels as a position does.
        let skip = pages.position(&page_token)?.map_or(0, |skip| usize::try_from(skip.0).unwrap_or(0));
        let LineagePage { mut bookings, mut more, damaged } = read(self.store.lineage(whose, &uid, skip)).await?;
        self.metrics.damaged(self.left_out.say(whose, &damaged));
        if bookings.is_empty() && skip == 0 {
            // As it is answered when it is read by itself.
            let is_there = damaged.contains(&uid);
            return Err(if is_there { ApiError::StoreUnavailable } else { ApiError::BookingNotFound { uid } }.into());
        }
        more |= page::cut(&mut bookings, LINEAGE_MAX, page::encoded);
        let next = Position(i64::try_from(skip + bookings.len()).unwrap_or(i64::MAX));
        let next_page_token = if more { pages.token_at(next) } else { String::new() };
        let bookings = mask::all_shown(&caller, bookings);
        Ok(Response::new(GetLineageResponse { bookings, next_page_token }))
    }

    async fn get_timeline(
        &self,
        request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        let (caller, request) = open(request);
        let whose = tenant(&caller, &request.tenant)?;
        named(&request.uid, "uid")?;
        let size = page::size(request.page_size)?;
        let pages = List { method: "GetTimeline", tenant: &request.tenant, choices: &[&request.uid] };
        let after = pages.position(&request.page_token)?.unwrap_or(Position(0));
        let mut found = read(self.store.timeline(whose, &request.uid, after, size + 1)).await?;
        let more = page::cut(&mut found, size, |(_, entry)| page::encoded(entry));
        let next_page_token = match found.last() {
            Some((last, _)) if more => pages.token_at(*last),
            _ => String::new(),
        };
        let entries = found.into_iter().map(|(_, entry)| mask::shown(&caller, entry)).collect();
        Ok(Response::new(GetTimelineResponse { entries, next_page_token }))
    }

    type WatchTransitionsStream = Entries;

    async fn watch_transitions(
        &self,
        request: Request<WatchTransitionsRequest>,
    ) -> Result<Response<Self::WatchTransitionsStream>, Status> {
        let (caller, request) = open(request);
        Ok(Response::new(self.watch(caller, request).await?))
    }
}

impl<S: Store> Api<S> {
    /// Waits until the store has reached a position that an ingest answered; an empty one is reached.
    async fn reach(&self, min_position: &str) -> Result<(), ApiError> {
        if min_position.is_empty() {
            return Ok(());
        }
        let why = "must be a position that this service answered";
        let wanted = Position::from_token(min_position).ok_or(ApiError::InvalidField { field: "min_position", why })?;
        let reached = async {
            while read(self.store.head()).await? < wanted {
                sleep(MIN_POSITION_PAUSE).await;
            }
            Ok(())
        };
        timeout(MIN_POSITION_WAIT, reached).await.unwrap_or(Err(ApiError::NotThereYet))
    }
}

/// What is asked about by somebody who may not see it would be found out by asking.
fn is_personal(condition: &Condition) -> bool {
    match condition {
        Condition::OrganizerEmail(_) | Condition::AttendeeEmail(_) | Condition::Metadata(..) => true,
        Condition::Status(..) | Condition::StartTime(..) | Condition::UpdateTime(..) | Condition::EventTypeId(_) => {
            false
        }
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
