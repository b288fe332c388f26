//! Reading the webhooks that were kept.

use calbridge_proto::v1::{
    GetDeliveryRequest, GetDeliveryResponse, ListDeliveriesRequest, ListDeliveriesResponse,
    delivery_service_server::DeliveryService,
};
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use super::{
    Api,
    errors::ApiError,
    no_filter,
    page::{self, List},
    read, tenant,
};
use crate::store::Store;

#[async_trait]
impl<S: Store> DeliveryService for Api<S> {
    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let request = request.into_inner();
        tenant(&request.tenant)?;
        no_filter(&request.filter)?;
        let size = page::size(request.page_size)?;
        let pages = List { method: "ListDeliveries", tenant: &request.tenant, choices: &[] };
        let before = pages.position(&request.page_token)?;
        let mut found = read(self.store.deliveries(&request.tenant, before, size + 1)).await?;
        let more = page::cut(&mut found, size, |(_, delivery)| page::encoded(delivery));
        let next_page_token = match found.last() {
            Some((last, _)) if more => pages.token_at(*last),
            _ => String::new(),
        };
        let deliveries = found.into_iter().map(|(_, delivery)| delivery).collect();
        Ok(Response::new(ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn get_delivery(
        &self,
        request: Request<GetDeliveryRequest>,
    ) -> Result<Response<GetDeliveryResponse>, Status> {
        let GetDeliveryRequest { tenant: whose, delivery_id, include_raw_body } = request.into_inner();
        tenant(&whose)?;
        let id = Uuid::try_parse(&delivery_id)
            .map_err(|_| ApiError::InvalidField { field: "delivery_id", why: "must be a UUID" })?;
        let delivery = read(self.store.delivery(&whose, id, include_raw_body)).await?;
        let delivery = delivery.ok_or(ApiError::DeliveryNotFound { delivery_id: id.to_string() })?;
        Ok(Response::new(GetDeliveryResponse { delivery: Some(delivery) }))
    }
}
