//! What concerns the hosts and their organization: absences, delegation credentials, reports of a wrong assignment.

use calbridge_proto::v1::{DelegationCredentialPayload, OutOfOfficePayload, WrongAssignmentPayload};
use serde::de::MapAccess;

use super::{person::PersonObject, uid::BookingRef};
use crate::{
    freeform::compact,
    lenient::{Object, Slot},
};

/// Bytes kept of a report: it holds a free text, and the raw body keeps the whole.
const REPORT_BYTES_MAX: usize = 16 * 1024;

/// `OOO_CREATED`: an absence was created or updated.
#[derive(Default)]
pub(crate) struct OutOfOfficeObject {
    entry: Option<OutOfOfficePayload>,
}

impl<'de> Object<'de> for OutOfOfficeObject {
    type Message = OutOfOfficePayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "oooEntry" => self.entry = slot.read::<Entry>()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<OutOfOfficePayload> {
        Some(self.entry.unwrap_or_default())
    }
}

/// `oooEntry`.
#[derive(Default)]
struct Entry(OutOfOfficePayload);

impl<'de> Object<'de> for Entry {
    type Message = OutOfOfficePayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let entry = &mut self.0;
        match key {
            "id" => entry.entry_id = slot.int()?,
            "uuid" => entry.entry_uuid = slot.text()?,
            "start" => entry.start_time = slot.time()?,
            "end" => entry.end_time = slot.time()?,
            "notes" => entry.notes = slot.text()?,
            "reason" => entry.reason = slot.read::<Reason>()?.unwrap_or_default(),
            "user" => entry.user = slot.read::<PersonObject>()?,
            "toUser" => entry.to_user = slot.read::<PersonObject>()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<OutOfOfficePayload> {
        Some(self.0)
    }
}

/// `oooEntry.reason`: `{emoji, reason}`.
#[derive(Default)]
struct Reason {
    reason: String,
}

impl<'de> Object<'de> for Reason {
    type Message = String;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "reason" => self.reason = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<String> {
        Some(self.reason)
    }
}

/// `DELEGATION_CREDENTIAL_*`: `credential` and `user` where a credential failed, `delegationCredential` where its
/// secret is or must be rotated, `error` with a type or a code.
#[derive(Default)]
pub(crate) struct DelegationCredentialObject {
    credential: Credential,
    delegation: Credential,
    error: Failure,
    user: Member,
}

impl<'de> Object<'de> for DelegationCredentialObject {
    type Message = DelegationCredentialPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "credential" => self.credential = slot.read::<Credential>()?.unwrap_or_default(),
            "delegationCredential" => self.delegation = slot.read::<Credential>()?.unwrap_or_default(),
            "error" => self.error = slot.read::<Failure>()?.unwrap_or_default(),
            "user" => self.user = slot.read::<Member>()?.unwrap_or_default(),
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<DelegationCredentialPayload> {
        let Self { credential, delegation, error, user } = self;
        let named = credential.delegation_credential_id;
        Some(DelegationCredentialPayload {
            delegation_credential_id: if named.is_empty() { delegation.id } else { named },
            app_id: credential.app_id,
            workspace_platform: delegation.workspace_platform,
            domain: delegation.domain,
            organization_id: delegation.organization_id.or(user.organization_id),
            secret_expire_time: delegation.secret_expires_at,
            error_code: if error.kind.is_empty() { error.code } else { error.kind },
            error_message: error.message,
            user: user.person.finish(),
        })
    }
}

/// `credential` or `delegationCredential`; their keys do not meet save for `id`.
#[derive(Default)]
struct Credential {
    id: String,
    delegation_credential_id: String,
    app_id: String,
    workspace_platform: String,
    domain: String,
    organization_id: Option<i64>,
    secret_expires_at: Option<prost_types::Timestamp>,
}

impl<'de> Object<'de> for Credential {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "id" => self.id = slot.text()?,
            "delegationCredentialId" => self.delegation_credential_id = slot.text()?,
            "appId" => self.app_id = slot.text()?,
            "workspacePlatform" => self.workspace_platform = slot.text()?,
            "domain" => self.domain = slot.text()?,
            "organizationId" => self.organization_id = slot.int()?,
            "secretExpiresAt" => self.secret_expires_at = slot.time()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}

/// `error`.
#[derive(Default)]
struct Failure {
    kind: String,
    code: String,
    message: String,
}

impl<'de> Object<'de> for Failure {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "type" => self.kind = slot.text()?,
            "code" => self.code = slot.text()?,
            "message" => self.message = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}

/// `user`: a person of an organization.
#[derive(Default)]
struct Member {
    person: PersonObject,
    organization_id: Option<i64>,
}

impl<'de> Object<'de> for Member {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "organizationId" => self.organization_id = slot.int()?,
            _ => self.person.field(key, slot)?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}

/// `WRONG_ASSIGNMENT_REPORT`.
#[derive(Default)]
pub(crate) struct WrongAssignmentObject {
    booking: BookingRef,
    report_json: String,
}

impl<'de> Object<'de> for WrongAssignmentObject {
    type Message = WrongAssignmentPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "booking" => self.booking = slot.read::<BookingRef>()?.unwrap_or_default(),
            "report" => {
                let raw = slot.raw()?.get();
                let mut report = if raw == "null" { String::new() } else { compact(raw) };
                report.truncate(report.floor_char_boundary(REPORT_BYTES_MAX));
                self.report_json = report;
            }
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<WrongAssignmentPayload> {
        Some(WrongAssignmentPayload {
            booking_uid: self.booking.uid,
            booking_id: self.booking.id,
            title: self.booking.title,
            report_json: self.report_json,
        })
    }
}
