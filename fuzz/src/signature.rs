//! Signature headers: whoever does not hold one of a tenant's secrets is not let in, and whoever does is.
//!
//! An input is a tenant, some headers and a body. A header's value is what stands in the input, or a MAC over the body
//! in one of several spellings, so that the way in is hunted as well as the way past it. The judgement here follows the
//! description of the HTTP edge and shares no code with the adapter's.

use std::{collections::BTreeMap, sync::LazyLock};

use calbridge_adapter::fuzzing::Keys;
use calbridge_process::{Secret, Tenant};
use futures_util::FutureExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::cut::Cut;

/// The first that is there decides.
const NAMES: [&str; 4] = ["x-cal-signature-256", "cal-signature-256", "x-cal-signature", "cal-signature"];
/// Where no signature is looked for.
const OTHERS: [&str; 2] = ["x-signature", "authorization"];
/// The last signs for nobody.
const SECRETS: [&str; 4] = ["one of acme's", "another of acme's", "the one of other", "nobody signs with this"];
const TENANTS: [(&str, &[usize]); 4] = [("acme", &[0, 1]), ("other", &[2]), ("open", &[]), ("nobody", &[])];
/// Lets everything in.
const OPEN: &str = "open";

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let secret = |place: &usize| Secret {
        id: SECRETS[*place].to_owned(),
        value: SECRETS[*place].into(),
        not_before: None,
        expires: None,
    };
    let tenant = |name: &str, secrets: &[usize]| Tenant {
        secrets: secrets.iter().map(secret).collect(),
        allow_unsigned: name == OPEN,
    };
    let known = TENANTS[..3].iter().map(|(name, secrets)| ((*name).to_owned(), tenant(name, secrets)));
    Keys::new(&known.collect::<BTreeMap<_, _>>())
});

pub(crate) fn judge(input: &[u8]) {
    let mut cut = Cut(input);
    let (tenant, secrets) = TENANTS[usize::from(cut.byte()) % TENANTS.len()];
    let written = std::iter::repeat_with(|| (cut.byte(), cut.byte(), cut.counted()));
    let written: Vec<_> = written.take_while(|(name, _, _)| *name != 0).take(8).collect();
    let body = cut.rest();
    let mut headers = HeaderMap::new();
    for (name, spelling, text) in written {
        let name = NAMES.iter().chain(&OTHERS).nth(usize::from(name) % 6).copied().unwrap_or(NAMES[0]);
        if let Ok(value) = HeaderValue::from_bytes(&value(spelling, text, body)) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    // A body of this length is judged without a pause.
    let verdict = KEYS.verify(tenant, &headers, body).now_or_never().expect("nothing to wait for");
    let wanted = if tenant == OPEN { Some("unsigned") } else { signer(&headers, body, secrets) };
    assert_eq!(verdict.as_deref(), wanted, "{tenant}, {headers:?}");
}

/// What a sender might write: low bits say which secret signs, high bits how it looks.
fn value(spelling: u8, text: &[u8], body: &[u8]) -> Vec<u8> {
    let message = match spelling >> 2 & 1 {
        0 => body,
        _ => body.trim_ascii_end(),
    };
    let digits = hex::encode(mac(SECRETS[usize::from(spelling & 3)], message).finalize().into_bytes());
    match spelling >> 3 {
        0 => text.to_owned(),
        1 => digits.into_bytes(),
        2 => digits.to_uppercase().into_bytes(),
        3 => format!("sha256={digits}").into_bytes(),
        4 => [text, digits.as_bytes()].concat(),
        5 => [digits.as_bytes(), text].concat(),
        6 => format!(" SHA256={digits}\t").into_bytes(),
        _ => {
            let mut digits = digits.into_bytes();
            let at = usize::from(text.first().copied().unwrap_or(0)) % digits.len();
            digits[at] = text.get(1).copied().unwrap_or(b'0');
            digits
        }
    }
}

/// Which of these secrets has signed.
fn signer(headers: &HeaderMap, body: &[u8], secrets: &[usize]) -> Option<&'static str> {
    let name = NAMES.iter().find(|name| headers.contains_key(**name))?;
    let mut values: Vec<_> = headers.get_all(*name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    values.dedup();
    let [value] = values[..] else { return None };
    let has_prefix = value.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"sha256="));
    let claimed = hex::decode(if has_prefix { &value[7..] } else { value }).ok()?;
    let without = [&b"\r\n"[..], b"\n", b"\r"].iter().find_map(|end| body.strip_suffix(*end));
    let signed = |message: &[u8]| {
        let of = |place: &&usize| mac(SECRETS[**place], message).finalize().into_bytes()[..] == claimed[..];
        secrets.iter().find(of).map(|place| SECRETS[*place])
    };
    signed(body).or_else(|| signed(without?))
}

fn mac(secret: &str, message: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length").chain_update(message)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let body = b"{\"triggerEvent\":\"PING\"}\r\n";
    let header =
        |name: u8, spelling: u8, text: &[u8]| [&[name, spelling, u8::try_from(text.len()).unwrap_or(0)], text].concat();
    let mut seeds = vec![[&[0][..], &header(6, 0, b"no-secret-provided"), &[0, 0, 0], body].concat()];
    for spelling in 0..=255_u8 {
        if spelling < 64 || spelling.is_multiple_of(16) {
            seeds.push([&[spelling >> 3][..], &header(6 + spelling % 6, spelling, b"1f"), &[0, 0, 0], body].concat());
        }
    }
    seeds.push([&[0][..], &header(6, 8, b""), &header(6, 16, b""), &[0, 0, 0], body].concat());
    seeds.push([&[1][..], &header(4, 10, b""), &header(1, 26, b""), &[0, 0, 0], body].concat());
    seeds
}
