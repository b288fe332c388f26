//! Bearer tokens: read from the call's head, and told apart by their hashes.

use std::sync::Arc;

use calbridge_process::{Principal, token_sha256};
use http::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq as _;

use super::Denied;

const SCHEME: &[u8] = b"bearer";
/// The longest token that is hashed: ours have 47 characters.
const TOKEN_BYTES: usize = 1024;

/// The token of a call; nothing where it has none. What is there and is no token is a wrong one.
pub(crate) fn presented(headers: &HeaderMap) -> Result<Option<&[u8]>, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len()).ok_or(Denied::TokenInvalid)?;
    let token = token.strip_prefix(b" ").ok_or(Denied::TokenInvalid)?.trim_ascii();
    let fits = !token.is_empty() && token.len() <= TOKEN_BYTES && token.iter().all(u8::is_ascii_graphic);
    if values.next().is_some() || !scheme.eq_ignore_ascii_case(SCHEME) || !fits {
        return Err(Denied::TokenInvalid);
    }
    Ok(Some(token))
}

/// Whose it is. Each hash of each principal is compared whole, also behind the one that is found.
pub(super) fn owner(principals: &[Arc<Principal>], token: &[u8]) -> Option<Arc<Principal>> {
    let presented = token_sha256(token);
    let mut owner = None;
    for principal in principals {
        for hash in &principal.token_sha256 {
            if bool::from(hash.ct_eq(&presented)) {
                owner = Some(principal);
            }
        }
    }
    owner.cloned()
}
